/* The text of the pairs of a row-block: first its length, then the text itself, piece by piece.

   Each pair is written as  , "id1-id2": value  and nothing is written but to memory that the caller
   owns and that has room for it. What is measured is kept for the writing, a word a value, so that
   the digits are looked for once. */

#include "digits.h"

enum { SHORT = 16 };

/* The values of some rows and the ids of all films. */
typedef struct {
    Py_buffer suffixes, ends, values, words;
    Py_ssize_t width, film, n_films, n_rows;
    double minimum;
} Block;

/* Text of a film as the second of a pair: a hyphen, its id, and 3 bytes more; NULL: none such. */
static const char *suffix(const Block *block, Py_ssize_t film, Py_ssize_t *length)
{
    int64_t ends[2];
    memcpy(ends, (const char *)block->ends.buf + film * 8, 16);
    if (ends[0] < 0 || ends[1] < ends[0] || ends[1] > block->suffixes.len || ends[1] - ends[0] < 4)
        return NULL;
    *length = (Py_ssize_t)(ends[1] - ends[0]);
    return (const char *)block->suffixes.buf + ends[0];
}

static char *cell(const Py_buffer *cells, const Block *block, Py_ssize_t row, Py_ssize_t column)
{
    return (char *)cells->buf + (row * block->width + column) * 8;
}

/* Column of the first film after that of a row. */
static Py_ssize_t first_column(const Block *block, Py_ssize_t row)
{
    const Py_ssize_t column = block->film + row + 1 - (block->n_films - block->width);
    return column < 0 ? 0 : column;
}

static int kept(const Block *block, double value)
{
    return block->minimum != block->minimum || value >= block->minimum;
}

/* Bytes and pairs of the text of a block; 0: its suffixes are none. */
static int measured(const Block *block, Py_ssize_t *length, Py_ssize_t *n_pairs)
{
    *length = *n_pairs = 0;
    for (Py_ssize_t row = 0; row < block->n_rows; row++) {
        Py_ssize_t first, second;
        if (!suffix(block, block->film + row, &first))
            return 0;
        for (Py_ssize_t column = first_column(block, row); column < block->width; column++) {
            double value;
            uint64_t word;
            memcpy(&value, cell(&block->values, block, row, column), 8);
            if (!kept(block, value))
                continue;
            if (!suffix(block, block->n_films - block->width + column, &second))
                return 0;
            *length += 3 + first - 4 + second + number_length(value, &word);
            memcpy(cell(&block->words, block, row, column), &word, 8);
            ++*n_pairs;
        }
    }
    return 1;
}

/* Copy a few bytes; up to SHORT, at once, where there is so much to read. There is to write. */
static char *copied(char *out, const char *from, Py_ssize_t length, const char *end)
{
    if (length <= SHORT && end - from >= SHORT)
        memcpy(out, from, SHORT);
    else
        memcpy(out, from, length);
    return out + length;
}

/* Write pairs from a place on, as many as surely fit; the place is moved to the first that is left.
   NULL: its suffixes are none. */
static char *written(const Block *block, char *out, const char *out_end, Py_ssize_t *row,
                     Py_ssize_t *column)
{
    const char *const end = (const char *)block->suffixes.buf + block->suffixes.len;
    for (; *row < block->n_rows; ++*row, *column = 0) {
        Py_ssize_t first_length, second_length;
        const char *const first = suffix(block, block->film + *row, &first_length);
        if (!first)
            return NULL;
        const Py_ssize_t begin = first_column(block, *row);
        for (*column = *column < begin ? begin : *column; *column < block->width; ++*column) {
            double value;
            uint64_t word;
            memcpy(&value, cell(&block->values, block, *row, *column), 8);
            if (!kept(block, value))
                continue;
            const char *const second =
                suffix(block, block->n_films - block->width + *column, &second_length);
            if (!second)
                return NULL;
            if (out_end - out < first_length + second_length + SHORT + NUMBER_ROOM)
                return out;
            memcpy(out, ", \"", 3);
            out = copied(out + 3, first + 1, first_length - 4, end);
            out = copied(out, second, second_length, end);
            memcpy(&word, cell(&block->words, block, *row, *column), 8);
            out += number(value, word, out);
        }
    }
    return out;
}

static int fits(Block *block)
{
    block->n_films = block->ends.len / 8 - 1;
    block->n_rows = block->width > 0 ? block->values.len / 8 / block->width : 0;
    if (block->width > 0 && block->width <= block->n_films && block->film >= 0 &&
        block->ends.len % 8 == 0 && block->n_rows * block->width * 8 == block->values.len &&
        block->words.len == block->values.len &&
        block->n_rows <= block->n_films - block->film)
        return 1;
    PyErr_SetString(PyExc_ValueError, "films and values do not fit each other");
    return 0;
}

static void release(Block *block)
{
    PyBuffer_Release(&block->suffixes);
    PyBuffer_Release(&block->ends);
    PyBuffer_Release(&block->values);
    PyBuffer_Release(&block->words);
}

static PyObject *measure(PyObject *module, PyObject *arguments)
{
    Block block;
    Py_ssize_t length = 0, n_pairs = 0;
    int good = 1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*nnd", &block.suffixes, &block.ends, &block.values,
                          &block.words, &block.width, &block.film, &block.minimum))
        return NULL;
    if (fits(&block)) {
        Py_BEGIN_ALLOW_THREADS
        good = measured(&block, &length, &n_pairs);
        Py_END_ALLOW_THREADS
        if (!good)
            PyErr_SetString(PyExc_ValueError, "an end of a suffix is out of place");
    }
    release(&block);
    return PyErr_Occurred() ? NULL : Py_BuildValue("nn", length, n_pairs);
}

static PyObject *write_text(PyObject *module, PyObject *arguments)
{
    Block block;
    Py_buffer out;
    Py_ssize_t row, column;
    char *end = NULL;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*nndw*nn", &block.suffixes, &block.ends, &block.values,
                          &block.words, &block.width, &block.film, &block.minimum, &out, &row,
                          &column))
        return NULL;
    if (row < 0 || column < 0)
        PyErr_SetString(PyExc_ValueError, "there is no such row or column");
    else if (fits(&block)) {
        Py_BEGIN_ALLOW_THREADS
        end = written(&block, out.buf, (char *)out.buf + out.len, &row, &column);
        Py_END_ALLOW_THREADS
        if (!end)
            PyErr_SetString(PyExc_ValueError, "an end of a suffix is out of place");
        else if (end == out.buf && row < block.n_rows)
            PyErr_SetString(PyExc_ValueError, "the buffer is too small for a pair");
    }
    const Py_ssize_t length = end ? end - (char *)out.buf : 0;
    PyBuffer_Release(&out);
    release(&block);
    return PyErr_Occurred() ? NULL : Py_BuildValue("nnn", length, row, column);
}

static PyMethodDef functions[] = {
    {"load_powers", load_powers, METH_VARARGS, "load_powers(words): once, before all else."},
    {"measure", measure, METH_VARARGS,
     "measure(suffixes, ends, values, words, width, film, minimum): bytes and pairs of the text."},
    {"write", write_text, METH_VARARGS,
     "write(suffixes, ends, values, words, width, film, minimum, out, row, column): write pairs\n"
     "from this row and column on into out; return bytes written, and row and column of the first left."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_similarities_text", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__similarities_text(void)
{
    PyObject *const module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "INTERFACE", 1) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}

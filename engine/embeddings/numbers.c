/* A list of numbers in JSON as float64, each the nearest to what is written: what float() gives.

   As in Daniel Lemire, "Number Parsing at a Gigabyte per Second" (2021), after Michael Eisel: the
   digits as an integer, times the first 128 bits of a power of ten. As these are rounded up, the
   exact product is known to lie within one unit of the upper 128 bits on either side of the
   computed one. Only where that is the middle between two floats does the side matter; then, and
   for whatever else is unusual, there is no answer: engine/embeddings/parsing.py has a slower way,
   which also knows what to say of a list that is to be refused. */

#include "../powers.h"

enum { MOST_DIGITS = 19 }; /* of which every integer fits in a word */

static const uint64_t ZEROS = 0x3030303030303030; /* as text */
static const uint64_t TENS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* Eight digits, a byte each, the first in the lowest. */
static uint64_t eight(uint64_t x)
{
    x = (x * 10 + (x >> 8)) & 0x00ff00ff00ff00ff;
    x = (x * 100 + (x >> 16)) & 0x0000ffff0000ffff;
    return (uint32_t)(x * 10000 + (x >> 32));
}

/* Append to w the digits that come next; if they are too many, w is of no use. */
static const char *digits(const char *at, const char *end, uint64_t *w)
{
    for (;; at += 8) {
        uint64_t next = 0;
        if (end - at >= 8)
            memcpy(&next, at, 8);
        else
            memcpy(&next, at, end - at);
        next ^= ZEROS;
        /* The high bit of each byte above 9; up to the first of them nothing is carried over. */
        const uint64_t others = ((next + 0x7676767676767676) | next) & 0x8080808080808080;
        if (others) {
            const int n = __builtin_ctzll(others) / 8;
            /* Zeros before the n digits; in two steps, as a shift by 64 is none. */
            *w = *w * TENS[n] + eight(next << 4 * (8 - n) << 4 * (8 - n));
            return at + n;
        }
        *w = *w * TENS[8] + eight(next);
    }
}

/* The bits of the float nearest to w × 10^k, w not 0; 0 where that is not certain, and near both
   ends of the range of float. */
static uint64_t nearest(uint64_t w, Py_ssize_t k)
{
    if (k < K_MIN || k > K_MAX)
        return 0;
    const uint64_t *g = powers[k - K_MIN];
    const int shift = __builtin_clzll(w);
    const uint128 low = (uint128)g[1] * (w << shift);
    const uint128 product = (uint128)g[0] * (w << shift) + (uint64_t)(low >> 64);
    const uint64_t first = (uint64_t)(product >> 64);
    const int upper = (int)(first >> 63), left = 9 + upper; /* bits below the half of the last */
    const int exponent = floor_log2_pow10((int)k) + 63 + upper - shift + 1023;
    const uint64_t halves = first >> left;
    const int middle = halves << left == first && !(uint64_t)product && halves & 1;
    if (middle || exponent > 2045) /* it is above 0, as k is not that far below */
        return 0;
    /* A sum, as rounding up may carry into the exponent. */
    return ((uint64_t)(exponent - 1) << 52) + ((halves + 1) >> 1);
}

/* Read a number to the place after it; NULL where there is none, or no certain one. */
static const char *number(const char *at, const char *end, char *out)
{
    const int negative = *at == '-';
    uint64_t w = 0, size = 0;
    const char *begin = at += negative;
    const int zero = *at == '0';
    if (zero)
        begin = ++at; /* no digit that counts, and no other beside it */
    else if ((at = digits(at, end, &w)) == begin)
        return NULL;
    Py_ssize_t n = at - begin, k = 0;
    if (*at == '.') {
        begin = ++at;
        at = digits(at, end, &w);
        if (at == begin)
            return NULL;
        k = begin - at;
        n -= k;
        for (; zero && n > MOST_DIGITS && *begin == '0'; begin++)
            n--;
    } else if (zero && negative)
        return NULL; /* -0 is an integer, which has no sign */
    if ((*at | 32) == 'e') {
        const int below = *++at == '-';
        begin = at += below || *at == '+';
        at = digits(at, end, &size);
        if (at == begin || at - begin > 4)
            return NULL;
        k += below ? -(Py_ssize_t)size : (Py_ssize_t)size;
    }
    uint64_t bits = w ? nearest(w, k) : 0;
    if (n > MOST_DIGITS || (w && !bits))
        return NULL;
    bits |= (uint64_t)negative << 63;
    memcpy(out, &bits, 8);
    return at;
}

static const char *past_blanks(const char *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')
        at++;
    return at;
}

/* Whether this is a list of so many numbers, and nothing beside. The "]" at its end is where every
   search ends at the latest. */
static int list(const char *at, const char *end, Py_ssize_t count, char *out)
{
    for (Py_ssize_t i = 0; i < count; i++, out += 8) {
        if (*at != (i ? ',' : '['))
            return 0;
        at = number(past_blanks(at + 1), end, out);
        if (!at)
            return 0;
        at = past_blanks(at);
    }
    return at == end - 1;
}

static PyObject *packed(PyObject *module, PyObject *arguments)
{
    Py_buffer row;
    Py_ssize_t count;
    PyObject *vector = NULL;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*n", &row, &count))
        return NULL;
    const char *const begin = row.buf, *const end = begin + row.len;
    /* Two bytes a number at least: asks for no more memory than the list may need. */
    if (row.len && end[-1] == ']' && count > 0 && count <= row.len / 2)
        vector = PyBytes_FromStringAndSize(NULL, count * 8);
    if (vector && !list(begin, end, count, PyBytes_AsString(vector)))
        Py_CLEAR(vector);
    PyBuffer_Release(&row);
    if (vector || PyErr_Occurred())
        return vector;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"load_powers", load_powers, METH_VARARGS, "load_powers(words): once, before all else."},
    {"packed", packed, METH_VARARGS,
     "packed(row, count): the float64 of a JSON list of so many numbers, as bytes; None: not known."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_similarities_numbers", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__similarities_numbers(void)
{
    PyObject *const module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "INTERFACE", 1) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}

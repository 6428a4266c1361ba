/* Dot products of many pairs at once, each to the last bit what OpenBLAS's ddot gives for it alone.

   ddot keeps lanes: lane r is the chain of fused multiply-adds over the numbers r, r + n, r + 2n
   and so on of both vectors, for n lanes; at the end the lanes are added in a fixed order, a tree,
   and then the numbers that are left are added one by one. What the lanes hold does not depend on
   how many pairs are computed side by side, so a few rows and a few columns share what is loaded.

   Lanes and trees as in OpenBLAS's kernel/x86_64/ddot.c: 16 as for Haswell and Zen, 32 as for
   SkylakeX. Which of them this process's ddot has is not asked here but found out by trial, in
   engine/triangle/exact.py. Nothing here may be contracted or reassociated by the compiler. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_LANES 1
#include <immintrin.h>
#else
#define HAS_LANES 0 /* numpy's vecdot does it. */
#endif

enum { ACCUMULATORS = 4, MOST_PAIRS = 24 };

static const Py_ssize_t ROWS_BYTES = 1 << 22;    /* rows for which columns are packed once */
static const Py_ssize_t COLUMNS_BYTES = 1 << 18; /* columns that stay in the L2 cache */

/* Some vectors, and their numbers packed by accumulator: a vector's own come in lines of a power of
   two, which share few places in the L1 cache, and need not begin where a line begins. */
typedef struct {
    const char *data;
    Py_ssize_t count, stride;
    double *packed;
    Py_ssize_t length; /* numbers of one vector in one accumulator */
} Tile;

static Py_ssize_t clamped(const Tile *tile, Py_ssize_t index)
{
    /* Past the end, the last one once more: its sums are not used. */
    return index < tile->count ? index : tile->count - 1;
}

static const double *vector(const Tile *tile, Py_ssize_t index)
{
    return (const double *)(tile->data + clamped(tile, index) * tile->stride);
}

static void pack(const Tile *tile, int lanes)
{
    const Py_ssize_t width = lanes / ACCUMULATORS, between = tile->count * tile->length;
    for (Py_ssize_t k = 0; k < tile->count; k++) {
        const double *from = vector(tile, k);
        double *to = tile->packed + k * tile->length;
        for (Py_ssize_t i = 0; i < tile->length; i += width, to += width)
            for (int v = 0; v < ACCUMULATORS; v++)
                for (Py_ssize_t w = 0; w < width; w += 4, from += 4)
                    memcpy(to + v * between + w, from, 4 * sizeof *from);
    }
}

/* Computes the products of some rows with some columns, from these on, into `sums`, row by row. */
typedef void Block(const Tile *rows, Py_ssize_t row, const Tile *columns, Py_ssize_t column,
                   Py_ssize_t d, int fused, double *sums);

typedef struct {
    int lanes, rows, columns; /* rows and columns of a block: as the registers have room for */
    Block *block;
} Kernel;

#if HAS_LANES

static const double *packed(const Tile *tile, int accumulator, Py_ssize_t index)
{
    return tile->packed + (accumulator * tile->count + clamped(tile, index)) * tile->length;
}

/* Unrolled, or the sums would live in memory. */
#define EACH(index, count) _Pragma("GCC unroll 8") for (int index = 0; index < count; index++)

__attribute__((target("avx2,fma"))) static inline __m128d folded(__m256d lanes)
{
    return _mm_add_pd(_mm256_castpd256_pd128(lanes), _mm256_extractf128_pd(lanes, 1));
}

/* The sums of two pairs. */
__attribute__((target("avx2,fma"))) static inline void put(double *sums, __m128d one, __m128d two)
{
    _mm_storeu_pd(sums, _mm_hadd_pd(one, two));
}

/* Add what is left after the last whole 16; whether it is fused depends on OpenBLAS's compiler. */
__attribute__((target("avx2,fma"))) static inline double
with_tail(double sum, const double *row, const double *column, Py_ssize_t d, int fused)
{
    for (Py_ssize_t i = d & -16; i < d; i++)
        sum = fused ? __builtin_fma(row[i], column[i], sum) : sum + row[i] * column[i];
    return sum;
}

/* Haswell, Zen: accumulators of 4 lanes, folded to 2; then (0 + 1) + (2 + 3). */
__attribute__((target("avx2,fma"))) static void block16(const Tile *rows, Py_ssize_t row,
                                                        const Tile *columns, Py_ssize_t column,
                                                        Py_ssize_t d, int fused, double *sums)
{
    enum { ROWS = 3, COLUMNS = 4 };
    __m128d halves[ACCUMULATORS][ROWS][COLUMNS];
    for (int v = 0; v < ACCUMULATORS; v++) {
        const double *a[ROWS], *b[COLUMNS];
        __m256d lanes[ROWS][COLUMNS];
        EACH(r, ROWS) a[r] = packed(rows, v, row + r);
        EACH(c, COLUMNS) b[c] = packed(columns, v, column + c);
        EACH(r, ROWS) EACH(c, COLUMNS) lanes[r][c] = _mm256_setzero_pd();
        for (Py_ssize_t i = 0; i < rows->length; i += 4) {
            __m256d x[ROWS];
            EACH(r, ROWS) x[r] = _mm256_loadu_pd(a[r] + i);
            EACH(c, COLUMNS) {
                const __m256d y = _mm256_loadu_pd(b[c] + i);
                EACH(r, ROWS) lanes[r][c] = _mm256_fmadd_pd(x[r], y, lanes[r][c]);
            }
        }
        EACH(r, ROWS) EACH(c, COLUMNS) halves[v][r][c] = folded(lanes[r][c]);
    }
    for (int r = 0; r < ROWS; r++, sums += COLUMNS) {
        __m128d sum[COLUMNS];
        EACH(c, COLUMNS) sum[c] = _mm_add_pd(_mm_add_pd(halves[0][r][c], halves[1][r][c]),
                                             _mm_add_pd(halves[2][r][c], halves[3][r][c]));
        EACH(k, COLUMNS / 2) put(sums + 2 * k, sum[2 * k], sum[2 * k + 1]);
        for (int c = 0; d & 15 && c < COLUMNS; c++)
            sums[c] = with_tail(sums[c], vector(rows, row + r), vector(columns, column + c), d,
                                fused);
    }
}

/* SkylakeX: accumulators of 8 lanes, folded to 4, which take 16 more numbers where there are; then
   ((0 + 1) + 2) + 3, folded to 2. */
__attribute__((target("avx512f,avx2,fma"))) static void
block32(const Tile *rows, Py_ssize_t row, const Tile *columns, Py_ssize_t column, Py_ssize_t d,
        int fused, double *sums)
{
    enum { ROWS = 4, COLUMNS = 6 };
    __m256d halves[ACCUMULATORS][ROWS][COLUMNS];
    for (int v = 0; v < ACCUMULATORS; v++) {
        const double *a[ROWS], *b[COLUMNS];
        __m512d lanes[ROWS][COLUMNS];
        EACH(r, ROWS) a[r] = packed(rows, v, row + r);
        EACH(c, COLUMNS) b[c] = packed(columns, v, column + c);
        EACH(r, ROWS) EACH(c, COLUMNS) lanes[r][c] = _mm512_setzero_pd();
        for (Py_ssize_t i = 0; i < rows->length; i += 8) {
            __m512d x[ROWS];
            EACH(r, ROWS) x[r] = _mm512_loadu_pd(a[r] + i);
            EACH(c, COLUMNS) {
                const __m512d y = _mm512_loadu_pd(b[c] + i);
                EACH(r, ROWS) lanes[r][c] = _mm512_fmadd_pd(x[r], y, lanes[r][c]);
            }
        }
        EACH(r, ROWS) EACH(c, COLUMNS)
            halves[v][r][c] = _mm256_add_pd(_mm512_castpd512_pd256(lanes[r][c]),
                                            _mm512_extractf64x4_pd(lanes[r][c], 1));
    }
    const double *b[COLUMNS];
    EACH(c, COLUMNS) b[c] = vector(columns, column + c);
    for (int r = 0; r < ROWS; r++, sums += COLUMNS) {
        const double *a = vector(rows, row + r);
        __m128d sum[COLUMNS];
        EACH(c, COLUMNS) {
            __m256d half[ACCUMULATORS];
            EACH(v, ACCUMULATORS) half[v] = halves[v][r][c];
            if (d & 16)
                EACH(v, ACCUMULATORS)
                    half[v] = _mm256_fmadd_pd(_mm256_loadu_pd(a + (d & -32) + 4 * v),
                                              _mm256_loadu_pd(b[c] + (d & -32) + 4 * v), half[v]);
            sum[c] = folded(_mm256_add_pd(_mm256_add_pd(_mm256_add_pd(half[0], half[1]), half[2]),
                                          half[3]));
        }
        EACH(k, COLUMNS / 2) put(sums + 2 * k, sum[2 * k], sum[2 * k + 1]);
        for (int c = 0; d & 15 && c < COLUMNS; c++)
            sums[c] = with_tail(sums[c], a, b[c], d, fused);
    }
}

static const Kernel kernels[] = {{16, 3, 4, block16}, {32, 4, 6, block32}};

#endif

/* The kernel with so many lanes; NULL where this CPU cannot run it. */
static const Kernel *kernel_with(long lanes)
{
#if HAS_LANES
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return NULL;
    if (lanes == 16)
        return &kernels[0];
    if (lanes == 32 && __builtin_cpu_supports("avx512f"))
        return &kernels[1];
#endif
    (void)lanes;
    return NULL;
}

static Py_ssize_t vectors_in(Py_ssize_t bytes, Py_ssize_t d, Py_ssize_t least, Py_ssize_t most)
{
    Py_ssize_t count = bytes / (8 * (d + 1)) / least * least;
    count = count < least ? least : count;
    return count < most ? count : most;
}

static Tile part(Tile whole, Py_ssize_t first, Py_ssize_t most)
{
    whole.data += first * whole.stride;
    whole.count = whole.count - first < most ? whole.count - first : most;
    return whole;
}

/* `rows` and `columns` are packed where their `packed` points, as many at a time as fit there. */
static void all_blocks(const Kernel *kernel, Tile rows, Py_ssize_t most_rows, Tile columns,
                       Py_ssize_t most_columns, Py_ssize_t d, int fused, Py_ssize_t diagonal,
                       char *out, Py_ssize_t out_stride)
{
    double sums[MOST_PAIRS];
    for (Py_ssize_t top = 0; top < rows.count; top += most_rows) {
        const Tile some_rows = part(rows, top, most_rows);
        pack(&some_rows, kernel->lanes);
        for (Py_ssize_t left = 0; left < columns.count; left += most_columns) {
            const Tile some_columns = part(columns, left, most_columns);
            const Py_ssize_t below = diagonal + top - left; /* of the tile: j > below + i */
            if (some_columns.count - 1 <= below)
                continue;
            pack(&some_columns, kernel->lanes);
            for (Py_ssize_t i = 0; i < some_rows.count; i += kernel->rows)
                for (Py_ssize_t j = 0; j < some_columns.count; j += kernel->columns) {
                    if (j + kernel->columns - 1 <= below + i)
                        continue;
                    kernel->block(&some_rows, i, &some_columns, j, d, fused, sums);
                    for (int r = 0; r < kernel->rows && i + r < some_rows.count; r++) {
                        double *to = (double *)(out + (top + i + r) * out_stride) + left + j;
                        for (int c = 0; c < kernel->columns && j + c < some_columns.count; c++)
                            to[c] = sums[r * kernel->columns + c] + 0.0; /* as numpy: -0 is 0 */
                    }
                }
        }
    }
}

/* A matrix of float64 whose rows are contiguous, however far apart. */
static int matrix(PyObject *object, Py_buffer *view, int flags)
{
    if (PyObject_GetBuffer(object, view, flags | PyBUF_STRIDED_RO | PyBUF_FORMAT) < 0)
        return 0;
    const char *format = view->format ? view->format : "";
    format += *format == '<' || *format == '='; /* said, not only so */
    /* Arrays of ctypes have no strides even for those who ask. */
    if (view->ndim == 2 && view->strides && !strcmp(format, "d") &&
        (uintptr_t)view->buf % 8 == 0 && view->strides[0] % 8 == 0 &&
        (view->strides[1] == 8 || view->shape[1] < 2))
        return 1;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "expected a matrix of float64 with contiguous rows");
    return 0;
}

static int compute(const Kernel *kernel, const Py_buffer *rows, const Py_buffer *columns, int fused,
                   Py_ssize_t diagonal, const Py_buffer *out)
{
    const Py_ssize_t d = rows->shape[1], packed_d = d / kernel->lanes * kernel->lanes;
    const Py_ssize_t most_rows = vectors_in(ROWS_BYTES, d, kernel->rows, rows->shape[0]);
    const Py_ssize_t most_columns =
        vectors_in(COLUMNS_BYTES, d, kernel->columns, columns->shape[0]);
    char *const memory = PyMem_Malloc((most_rows + most_columns) * packed_d * 8 + 64);
    if (!memory)
        return 0;
    /* Farther out all cells are pairs, or none; sums of it could overflow. */
    diagonal = diagonal < -rows->shape[0] ? -rows->shape[0] : diagonal;
    diagonal = diagonal > columns->shape[0] ? columns->shape[0] : diagonal;
    double *const packed = (double *)(memory + 64 - (uintptr_t)memory % 64);
    Tile from = {rows->buf, rows->shape[0], rows->strides[0], packed, packed_d / ACCUMULATORS};
    Tile to = {columns->buf, columns->shape[0], columns->strides[0],
               packed + most_rows * packed_d, packed_d / ACCUMULATORS};
    Py_BEGIN_ALLOW_THREADS
    all_blocks(kernel, from, most_rows, to, most_columns, d, fused, diagonal, out->buf,
               out->strides[0]);
    Py_END_ALLOW_THREADS
    PyMem_Free(memory);
    return 1;
}

static PyObject *dots(PyObject *module, PyObject *arguments)
{
    PyObject *row_vectors, *column_vectors, *target;
    Py_buffer rows, columns, out;
    Py_ssize_t diagonal;
    long lanes;
    int fused;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "lpOOnO", &lanes, &fused, &row_vectors, &column_vectors,
                          &diagonal, &target))
        return NULL;
    const Kernel *const kernel = kernel_with(lanes);
    if (!kernel)
        return PyErr_Format(PyExc_ValueError, "no kernel with %ld lanes on this CPU", lanes);
    if (!matrix(row_vectors, &rows, 0))
        return NULL;
    if (!matrix(column_vectors, &columns, 0))
        goto release_rows;
    if (!matrix(target, &out, PyBUF_WRITABLE))
        goto release_columns;
    if (rows.shape[1] != columns.shape[1] || out.shape[0] != rows.shape[0] ||
        out.shape[1] != columns.shape[0])
        PyErr_SetString(PyExc_ValueError, "rows, columns and out do not fit each other");
    else if (!compute(kernel, &rows, &columns, fused, diagonal, &out))
        PyErr_NoMemory();
    PyBuffer_Release(&out);
release_columns:
    PyBuffer_Release(&columns);
release_rows:
    PyBuffer_Release(&rows);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"dots", dots, METH_VARARGS,
     "dots(lanes, fused, rows, columns, diagonal, out): the dot products of each row (r, d) with\n"
     "each column (c, d) where column > diagonal + row, into out (r, c); other cells of out may\n"
     "be written, too. fused: the numbers past the last whole 16 are fused to the sum."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_similarities_dot", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__similarities_dot(void)
{
    PyObject *const module = PyModule_Create(&definition);
    if (module && (PyModule_AddIntConstant(module, "INTERFACE", 1) < 0 ||
                   PyModule_AddIntConstant(
                       module, "LANES", kernel_with(32) ? 32 : kernel_with(16) ? 16 : 0) < 0)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}

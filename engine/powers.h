/* Powers of ten, for digits into numbers and numbers into digits: a table for each module of its
   own, which engine/native.py fills. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "figures are read and written eight at a time, the first in the lowest byte"
#endif

typedef unsigned __int128 uint128;

enum { K_MIN = -292, K_MAX = 324 };

/* 10^k for each k, its first 128 bits, rounded up: two words each, the upper first. */
static uint64_t powers[K_MAX - K_MIN + 1][2];

static int floor_log2_pow10(int e) { return (e * 1741647) >> 19; }

static PyObject *load_powers(PyObject *module, PyObject *arguments)
{
    Py_buffer words;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*", &words))
        return NULL;
    if (words.len == sizeof powers)
        memcpy(powers, words.buf, sizeof powers);
    else
        PyErr_SetString(PyExc_ValueError, "expected two words for each power");
    PyBuffer_Release(&words);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

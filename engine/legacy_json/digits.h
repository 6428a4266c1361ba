/* Shortest digits: what float.__repr__ and json write for a number.

   The digits are found as in Raffaello Giulietti, "The Schubfach way to render doubles" (2021); the
   names are those of the paper. The ends of the interval come from the same product as its middle,
   by adding and subtracting, and what is a matter of chance is chosen without a branch. */

#include "../powers.h"

enum { NUMBER_ROOM = 40, FIGURES = 17 };
static const uint64_t TEN_8 = 100000000, TEN_16 = 10000000000000000;
static const uint64_t ZEROS = 0x3030303030303030; /* as text */

/* A number without its sign: 0.DDDDDDDDDDDDDDDDD × 10^point; all of the 17 figures in digits. */
typedef struct {
    uint64_t digits;
    int point;
} Decimal;

static int floor_log10_pow2(int e) { return (e * 1262611) >> 22; }
static int floor_log10_three_quarters_pow2(int e) { return (e * 1262611 - 524031) >> 22; }

/* The upper word; its last bit is set if anything follows that is more than the error of g. */
static uint64_t rounded_to_odd(uint128 x)
{
    return (uint64_t)(x >> 64) | ((uint64_t)x > 1);
}

/* Eight figures, a byte each. */
static uint64_t eight(uint64_t x)
{
    uint64_t v = x / 10000 | (x % 10000) << 32;
    uint64_t q = (v * 10486 >> 20) & 0x0000007f0000007f;
    v = q | (v - 100 * q) << 16;
    q = (v * 103 >> 10) & 0x000f000f000f000f;
    return q | (v - 10 * q) << 8;
}

/* One of two numbers, without a branch: which one is a matter of chance. */
static uint64_t chosen(int first, uint64_t one, uint64_t other)
{
    return other ^ ((one ^ other) & -(uint64_t)first);
}

/* The shortest decimal that reads back as the double with these bits, the nearest of several. */
static Decimal shortest(uint64_t bits)
{
    const uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    const int biased = (int)(bits >> 52 & 0x7ff);
    if (!biased && !fraction)
        return (Decimal){0, 1};
    const uint64_t c = biased ? fraction | (uint64_t)1 << 52 : fraction;
    const int q = (biased ? biased : 1) - 1075;
    const int irregular = !fraction && biased > 1; /* the neighbour below is nearer */
    const uint64_t odd = c & 1;

    const int k = irregular ? floor_log10_three_quarters_pow2(q) : floor_log10_pow2(q);
    const int h = q + floor_log2_pow10(-k) + 1;
    const uint64_t *g = powers[-k - K_MIN];
    /* g × 4c × 2^h, and how far from it the ends of the interval are that reads back as this. */
    const uint64_t four_c = 4 * c << h, two = (uint64_t)2 << h;
    const uint128 low = (uint128)g[1] * four_c, low_part = (uint128)g[1] * two;
    const uint128 middle = (uint128)g[0] * four_c + (uint64_t)(low >> 64);
    const uint128 part = (uint128)g[0] * two + (uint64_t)(low_part >> 64);
    const uint64_t v = rounded_to_odd(middle);
    uint64_t lower = rounded_to_odd(middle - part - ((uint64_t)low < (uint64_t)low_part)) + odd;
    const uint64_t upper =
        rounded_to_odd(middle + part + ((uint64_t)(low + low_part) < (uint64_t)low)) - odd;
    if (irregular)
        lower = rounded_to_odd((uint128)g[0] * (four_c - two / 2) +
                               (uint64_t)((uint128)g[1] * (four_c - two / 2) >> 64));

    const uint64_t s = v / 4, t = s / 10;
    const int t_fits = lower <= 40 * t, t_next_fits = 40 * t + 40 <= upper;
    const int nearer = (v & 3) + (s & 1) > 2; /* s + 1 is; of two as near, the even one */
    /* The nearest fits, but for the one kind whose interval is shorter on one side. */
    uint64_t digits = s + (irregular && lower > 4 * s ? 1 : nearer);
    digits = chosen(t_fits != t_next_fits, 10 * (t + t_next_fits), digits);
    int point = k + FIGURES - (digits < TEN_16);
    digits = chosen(digits < TEN_16, 10 * digits, digits);
    for (; digits < TEN_16; point--) /* where the number is subnormal */
        digits *= 10;
    return (Decimal){digits, point};
}

/* How many of its figures count: those before the zeros at the end, one at least. */
static int figures(uint64_t digits)
{
    const uint64_t lower = eight(digits % TEN_8);
    if (lower)
        return FIGURES - __builtin_clzll(lower) / 8;
    int n = FIGURES - 8;
    for (digits /= TEN_8; n > 1 && digits % 10 == 0; n--)
        digits /= 10;
    return n;
}

static int plain(int point) { return point > -4 && point <= 16; }

/* A decimal that is written without an exponent in one word, which is not 0; 0 for all others. */
static uint64_t packed(Decimal decimal)
{
    return plain(decimal.point) ? decimal.digits | (uint64_t)(decimal.point + 4) << 57 : 0;
}

static Decimal unpacked(uint64_t word)
{
    return (Decimal){word & (((uint64_t)1 << 57) - 1), (int)(word >> 57) - 4};
}

/* Write a number as float.__repr__ and json do, into NUMBER_ROOM bytes; return how many count.
   `word` is what `number_length` left. */
static int number(double value, uint64_t word, char *out)
{
    char *const begin = out, text[24];
    uint64_t bits;
    memcpy(&bits, &value, 8);
    if (value != value)
        return memcpy(out, "NaN", 3), 3;
    if (bits >> 63)
        *out++ = '-';
    if ((bits >> 52 & 0x7ff) == 0x7ff)
        return memcpy(out, "Infinity", 8), (int)(out + 8 - begin);
    const Decimal decimal = word ? unpacked(word) : shortest(bits);
    const int n = figures(decimal.digits), point = decimal.point;
    const uint64_t upper = decimal.digits / TEN_8;
    const uint64_t middle = eight(upper % TEN_8) | ZEROS;
    const uint64_t last = eight(decimal.digits % TEN_8) | ZEROS;
    /* The usual one: no exponent, and nothing but zeros before the point. */
    char *const at = plain(point) && point <= 0 ? out + 2 - point : text;
    if (at != text)
        memcpy(out, "0.000", 5);
    *at = (char)('0' + upper / TEN_8);
    memcpy(at + 1, &middle, 8);
    memcpy(at + 9, &last, 8);
    if (at != text)
        return (int)(at + n - begin);
    if (plain(point)) {
        memcpy(out, text, point);
        out[point] = '.';
        memcpy(out + point + 1, text + point, FIGURES - point);
        return (int)(out - begin) + (n > point + 1 ? n : point + 1) + 1;
    }
    *out++ = *text;
    if (n > 1) {
        *out++ = '.';
        memcpy(out, text + 1, n - 1);
        out += n - 1;
    }
    const int e = point - 1, size = e < 0 ? -e : e;
    *out++ = 'e';
    *out++ = e < 0 ? '-' : '+';
    if (size > 99)
        *out++ = (char)('0' + size / 100);
    *out++ = (char)('0' + size / 10 % 10);
    *out++ = (char)('0' + size % 10);
    return (int)(out - begin);
}

/* How many bytes `number` writes; what it took to know is kept for it in `word`. */
static int number_length(double value, uint64_t *word)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    const int sign = (int)(bits >> 63);
    *word = 0;
    if (value != value)
        return 3;
    if ((bits >> 52 & 0x7ff) == 0x7ff)
        return sign + 8;
    const Decimal decimal = shortest(bits);
    const int n = figures(decimal.digits), point = decimal.point;
    *word = packed(decimal);
    if (!plain(point))
        return sign + n + (n > 1) + (point - 1 > 99 || point - 1 < -99 ? 5 : 4);
    if (point <= 0)
        return sign + 2 - point + n;
    return sign + (n > point + 1 ? n : point + 1) + 1;
}

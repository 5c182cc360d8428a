/* JSON (RFC 8259), as far as model files use it, and as strictly as Python's json reads it there. */
#include "internal.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void skip_space(fnn_json *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r')) j->at++;
}

bool fnn_json_take(fnn_json *j, char c) {
    skip_space(j);
    if (j->at == j->end || *j->at != c) return false;
    j->at++;
    return true;
}

bool fnn_json_ends(fnn_json *j) {
    skip_space(j);
    return j->at == j->end;
}

bool fnn_json_utf8(const char *text, size_t n) {
    const unsigned char *at = (const unsigned char *)text, *end = at + n;
    while (at < end) {
        const unsigned char first = *at++;
        if (first < 0x80) continue;
        const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || end - at < more) return false;
        const unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        const unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (*at < low || *at > high) return false;
        for (int i = 1; i < more; i++)
            if ((at[i] & 0xC0) != 0x80) return false;
        at += more;
    }
    return true;
}

/* ---- strings ---- */

/* The four digits after "\u". */
static bool take_unit(fnn_json *j, uint32_t *unit) {
    if (j->end - j->at < 4) return false;
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        const char c = *j->at++;
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return false;
        *unit = *unit * 16 + (uint32_t)digit;
    }
    return true;
}

/* Half of a surrogate pair alone is encoded as if it were a character. */
static char *put_utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    *to++ = (char)(lead[more] | c >> (6 * more));
    for (int i = more - 1; i >= 0; i--) *to++ = (char)(0x80 | (c >> (6 * i) & 0x3F));
    return to;
}

/* What follows a backslash, of which `j` stands behind. */
static bool take_escape(fnn_json *j, uint32_t *c) {
    static const char codes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (j->at == j->end) return false;
    const char code = *j->at++;
    if (code != 'u') {
        const char *found = code ? strchr(codes, code) : NULL;
        if (found) *c = (unsigned char)meant[found - codes];
        return found != NULL;
    }
    if (!take_unit(j, c)) return false;
    uint32_t low;
    fnn_json next = {j->at, j->end};
    if (*c >= 0xD800 && *c < 0xDC00 && next.end - next.at >= 6 && next.at[0] == '\\' && next.at[1] == 'u') {
        next.at += 2;
        if (take_unit(&next, &low) && low >= 0xDC00 && low < 0xE000) {
            *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
            j->at = next.at;
        }
    }
    return true;
}

/* Decodes to `to` where that is not NULL, which may be where the string stands: no escape is shorter than its meaning. */
static bool take_string(fnn_json *j, char **to) {
    if (!fnn_json_take(j, '"')) return false;
    while (j->at < j->end) {
        char c = *j->at++;
        uint32_t meant = (unsigned char)c;
        if (c == '"') return true;
        if ((unsigned char)c < 0x20) return false;
        if (c == '\\' && !take_escape(j, &meant)) return false;
        if (!to) continue;
        if (c == '\\') *to = put_utf8(*to, meant);
        else *(*to)++ = c;
    }
    return false;
}

bool fnn_json_string(fnn_json *j, char **text, size_t *length) {
    skip_space(j);
    char *to = *text = j->at;
    if (!take_string(j, &to)) return false;
    *length = (size_t)(to - *text);
    *to = 0;
    return true;
}

/* ---- numbers ---- */

static bool take_digits(fnn_json *j) {
    const char *from = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9') j->at++;
    return j->at > from;
}

/* The text of a number; *whole: it has neither fraction nor exponent. */
static bool scan_number(fnn_json *j, bool *whole) {
    skip_space(j);
    if (j->at < j->end && *j->at == '-') j->at++;
    if (j->at < j->end && *j->at == '0') j->at++;
    else if (!take_digits(j)) return false;
    *whole = true;
    if (j->at < j->end && *j->at == '.') {
        *whole = false;
        j->at++;
        if (!take_digits(j)) return false;
    }
    if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
        *whole = false;
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-')) j->at++;
        if (!take_digits(j)) return false;
    }
    return true;
}

bool fnn_json_natural(fnn_json *j, int64_t *value) {
    skip_space(j);
    const char *from = j->at;
    bool whole;
    if (!scan_number(j, &whole) || !whole) return false;
    const bool negative = *from == '-';
    const int64_t most = negative ? 0 : (int64_t)1 << 62;
    *value = 0;
    for (from += negative; from < j->at; from++) {
        const int64_t digit = *from - '0';
        if (*value > most / 10 || *value * 10 > most - digit) return false;
        *value = *value * 10 + digit;
    }
    return true;
}

bool fnn_json_number(fnn_json *j, double *value) {
    skip_space(j);
    const char *from = j->at;
    char text[64];                   /* Python writes 24 at most */
    bool whole;
    if (!scan_number(j, &whole) || (size_t)(j->at - from) >= sizeof text) return false;
    const size_t n = (size_t)(j->at - from);
    memcpy(text, from, n);
    text[n] = 0;
    /* strtod reads what the host's language writes. */
    char *point = memchr(text, '.', n);
    const char *local = localeconv()->decimal_point;
    if (point && strlen(local) == 1) *point = *local;
    *value = strtod(text, NULL);
    return isfinite(*value);
}

/* ---- any value ---- */

static bool skip_value(fnn_json *j, int depth);

/* What stands between two brackets, with names where it is an object. */
static bool skip_items(fnn_json *j, char closing, int depth) {
    if (fnn_json_take(j, closing)) return true;
    do {
        if (closing == '}' && !(take_string(j, NULL) && fnn_json_take(j, ':'))) return false;
        if (!skip_value(j, depth)) return false;
    } while (fnn_json_take(j, ','));
    return fnn_json_take(j, closing);
}

static bool skip_word(fnn_json *j, const char *word) {
    const size_t n = strlen(word);
    if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n) != 0) return false;
    j->at += n;
    return true;
}

static bool skip_value(fnn_json *j, int depth) {
    bool whole;
    skip_space(j);
    if (j->at == j->end || depth == 0) return false;
    switch (*j->at) {
    case '"': return take_string(j, NULL);
    case '{': j->at++; return skip_items(j, '}', depth - 1);
    case '[': j->at++; return skip_items(j, ']', depth - 1);
    case 't': return skip_word(j, "true");
    case 'f': return skip_word(j, "false");
    case 'n': return skip_word(j, "null");
    default: return scan_number(j, &whole);
    }
}

bool fnn_json_skip(fnn_json *j) { return skip_value(j, 64); }

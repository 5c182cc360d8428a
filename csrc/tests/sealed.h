/* Model files that checks change, with a checksum that fits again. */
#ifndef FASTNN_SEALED_H
#define FASTNN_SEALED_H

#include "../internal.h"

#include <string.h>

static const char file_prefix[] = "{\"__metadata__\":{\"checksum\":\"";
enum { DIGITS_AT = FNN_CHECKSUM_AT };

static void seal(unsigned char *bytes, size_t size) {
    if (size < DIGITS_AT + 64) return;
    memset(bytes + DIGITS_AT, '0', 64);
    fnn_sha256 sha;
    fnn_sha256_begin(&sha);
    fnn_sha256_add(&sha, bytes, size);
    fnn_sha256_end(&sha, (char *)bytes + DIGITS_AT);
}

#endif

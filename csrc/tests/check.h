/* What a check counts, and how it says what is wrong. */
#ifndef FASTNN_CHECK_H
#define FASTNN_CHECK_H

#include <stdio.h>

static int passed, failed;
#define CHECK(condition, ...)                                                     \
    do {                                                                          \
        if (condition) passed++;                                                  \
        else { failed++; printf("%s:%d: ", __FILE__, __LINE__); printf(__VA_ARGS__); printf("\n"); } \
    } while (0)

#endif

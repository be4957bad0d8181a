/* SPDX-License-Identifier: MIT */
#include "verify/rotation_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

static const char RESIDUAL[] = "residual", HEADS[] = "heads";

static hone_status refuse(const char *words, hone_error *err)
{
    return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                     "no rotation \"%s\": none, all, residual, heads, heads:LAYER,... or residual+heads", words);
}

/* ":0,3" at text: some layers; nothing: all. */
static bool parse_layers(const char *text, hone_rotated_parts *parts)
{
    if (*text == '\0') {
        for (size_t i = 0; i < parts->n_layers; i++)
            parts->heads[i] = true;
        return true;
    }
    if (*text != ':')
        return false;
    do {
        text++;
        char *after;
        const unsigned long long layer = strtoull(text, &after, 10);
        if (*text < '0' || *text > '9' || layer >= parts->n_layers)
            return false;
        parts->heads[layer] = true;
        text = after;
    } while (*text == ',');
    return *text == '\0';
}

hone_status hone_rotated_parts_parse(const char *words, hone_rotated_parts *parts, hone_error *err)
{
    const char *at = words;
    if (strcmp(words, "none") == 0)
        return HONE_OK;
    if (strncmp(at, RESIDUAL, strlen(RESIDUAL)) == 0) {
        parts->residual = true;
        at += strlen(RESIDUAL);
        if (*at == '\0')
            return HONE_OK;
        if (*at++ != '+')
            return refuse(words, err);
    }
    if (strncmp(at, HEADS, strlen(HEADS)) != 0 || !parse_layers(at + strlen(HEADS), parts))
        return refuse(words, err);
    return HONE_OK;
}

char *hone_rotated_parts_print(const hone_rotated_parts *parts)
{
    enum { LAYER_LEN = 21 }; /* ",18446744073709551615" */
    const size_t cap = sizeof RESIDUAL + sizeof HEADS + parts->n_layers * LAYER_LEN;
    size_t n_heads = 0;
    for (size_t i = 0; i < parts->n_layers; i++)
        n_heads += parts->heads[i];
    char *text = hone_alloc(cap, 1);
    if (!text)
        return NULL;
    size_t n =
        (size_t)snprintf(text, cap, "%s%s%s", parts->residual ? RESIDUAL : "", parts->residual && n_heads ? "+" : "",
                         n_heads           ? HEADS
                         : parts->residual ? ""
                                           : "none");
    for (size_t i = 0, done = 0; i < parts->n_layers && n_heads < parts->n_layers; i++)
        if (parts->heads[i])
            n += (size_t)snprintf(text + n, cap - n, done++ ? ",%zu" : ":%zu", i);
    return text;
}

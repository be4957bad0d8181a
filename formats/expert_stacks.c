/* SPDX-License-Identifier: MIT */
/*
 * Experts of a layer that are stored one by one, as one tensor each:
 *
 *     PREFIX.experts.0.SUFFIX [rows, cols], PREFIX.experts.1.SUFFIX, ..    ->    PREFIX.experts.SUFFIX [n, rows, cols]
 *
 * which is how GGUF stores them. Such a stack is not listed among the tensors, it is found by its name.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/sources.h"

struct stack {
    hone_view view;            /* first */
    const hone_tensor **parts; /* (n) in the checkpoint's table; arena */
    size_t n;
};

static const char EXPERTS[] = ".experts.";

/* The number behind ".experts." and what follows it; NULL if the name has none. */
static const char *split_name(const char *name, size_t *prefix_len, uint64_t *number)
{
    const char *at = strstr(name, EXPERTS);
    if (!at)
        return NULL;
    *prefix_len = (size_t)(at - name) + sizeof EXPERTS - 1;
    const char *digits = name + *prefix_len;
    const size_t n_digits = strspn(digits, "0123456789");
    if (n_digits == 0 || n_digits > 9 || digits[n_digits] != '.' || (n_digits > 1 && digits[0] == '0'))
        return NULL;
    *number = 0;
    for (size_t i = 0; i < n_digits; i++)
        *number = 10 * *number + (uint64_t)(digits[i] - '0');
    return digits + n_digits + 1;
}

static hone_status read_stack(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset, size_t nbytes,
                              void *dst, hone_error *err)
{
    const struct stack *stack = (const struct stack *)tensor->view;
    const uint64_t part_nbytes = tensor->nbytes / stack->n;
    for (size_t done = 0; done < nbytes;) {
        const uint64_t part = (offset + done) / part_nbytes, at = (offset + done) % part_nbytes;
        const uint64_t left = part_nbytes - at;
        const size_t n = left < nbytes - done ? (size_t)left : nbytes - done;
        HONE_TRY(hone_checkpoint_read(ckpt, stack->parts[part], at, n, (char *)dst + done, err));
        done += n;
    }
    return HONE_OK;
}

static bool same_form(const hone_tensor *a, const hone_tensor *b)
{
    return a->dtype == b->dtype && a->n_dims == b->n_dims && a->nbytes == b->nbytes &&
           memcmp(a->shape, b->shape, a->n_dims * sizeof a->shape[0]) == 0;
}

/* Expert number e of the stack that t, expert 0, begins; NULL if there is none like it. */
static const hone_tensor *find_expert(const hone_checkpoint *ckpt, const hone_tensor *t, size_t prefix_len,
                                      const char *suffix, uint64_t e)
{
    char name[256];
    const int len = snprintf(name, sizeof name, "%.*s%" PRIu64 ".%s", (int)prefix_len, t->name, e, suffix);
    const hone_tensor *part = len > 0 && (size_t)len < sizeof name ? hone_checkpoint_find(ckpt, name) : NULL;
    return part && same_form(t, part) ? part : NULL;
}

static hone_status add_stack(hone_checkpoint *ckpt, const hone_tensor *t, size_t prefix_len, const char *suffix,
                             hone_error *err)
{
    uint64_t n = 0;
    while (find_expert(ckpt, t, prefix_len, suffix, n))
        n++;
    struct stack *stack = hone_arena_alloc(&ckpt->arena, 1, sizeof *stack);
    const hone_tensor **parts = hone_arena_alloc(&ckpt->arena, n, sizeof *parts);
    const size_t name_nbytes = prefix_len + strlen(suffix) + 1;
    char *name = hone_arena_alloc(&ckpt->arena, name_nbytes, 1);
    hone_tensor *grown = hone_grow(ckpt->stacks, &ckpt->cap_stacks, ckpt->n_stacks + 1, sizeof *grown);
    if (grown)
        ckpt->stacks = grown;
    if (!stack || !parts || !name || !grown)
        return hone_fail_nomem(err, n * sizeof *parts);
    for (uint64_t e = 0; e < n; e++)
        parts[e] = find_expert(ckpt, t, prefix_len, suffix, e);
    *stack =
        (struct stack){.view = {.read = read_stack, .gathered = t->view && t->view->gathered}, .parts = parts, .n = n};
    (void)snprintf(name, name_nbytes, "%.*s%s", (int)prefix_len, t->name, suffix);
    hone_tensor made = *t;
    made.name = name;
    made.view = &stack->view;
    made.n_dims = t->n_dims + 1;
    made.shape[0] = n;
    memcpy(made.shape + 1, t->shape, t->n_dims * sizeof t->shape[0]);
    const char *wrong = hone_tensor_measure(&made);
    if (wrong)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, name, "%s", wrong);
    ckpt->stacks[ckpt->n_stacks++] = made;
    return HONE_OK;
}

hone_status hone_checkpoint_stack_experts(hone_checkpoint *ckpt, hone_error *err)
{
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const hone_tensor *t = &ckpt->tensors[i];
        size_t prefix_len;
        uint64_t number;
        const char *suffix = split_name(t->name, &prefix_len, &number);
        const bool begins = suffix && number == 0 && t->n_dims == 2 && t->nbytes > 0;
        if (begins && find_expert(ckpt, t, prefix_len, suffix, 0) == t)
            HONE_TRY(add_stack(ckpt, t, prefix_len, suffix, err));
    }
    return HONE_OK;
}

const hone_tensor *hone_checkpoint_find_stack(const hone_checkpoint *ckpt, const char *name)
{
    for (size_t i = 0; i < ckpt->n_stacks; i++)
        if (strcmp(ckpt->stacks[i].name, name) == 0)
            return &ckpt->stacks[i];
    return NULL;
}

const hone_tensor *hone_checkpoint_stack_of(const hone_checkpoint *ckpt, const hone_tensor *tensor)
{
    size_t prefix_len;
    uint64_t number;
    const char *suffix = split_name(tensor->name, &prefix_len, &number);
    for (size_t i = 0; suffix && i < ckpt->n_stacks; i++) {
        const char *name = ckpt->stacks[i].name;
        if (strncmp(name, tensor->name, prefix_len) == 0 && strcmp(name + prefix_len, suffix) == 0)
            return &ckpt->stacks[i];
    }
    return NULL;
}

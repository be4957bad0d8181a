/* SPDX-License-Identifier: MIT */
#include "formats/pickle.h"

#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/pickle_vm.h"

/* Some 0.3 s of work; a state dict takes about 50 opcodes a tensor. */
enum { MAX_OPCODES = 16 << 20 };

void *hone_pickle_alloc(hone_pickle *p, size_t nelems, size_t size)
{
    size_t nbytes;
    if (!hone_mul_size(nelems, size, &nbytes) || nbytes > HONE_MAX_PICKLE_MEMORY - p->used) {
        p->over_limit = true;
        return NULL;
    }
    void *memory = hone_arena_alloc(&p->arena, nelems, size);
    if (memory)
        p->used += nbytes;
    return memory;
}

hone_status hone_pickle_fail_memory(hone_pickle *p)
{
    if (p->over_limit)
        return hone_fail(p->err, HONE_ERROR_LIMIT, p->at, NULL, "the pickle makes more than %d bytes of values",
                         HONE_MAX_PICKLE_MEMORY);
    return hone_fail_nomem(p->err, p->used);
}

hone_status hone_pickle_fail(hone_pickle *p, hone_status status, const char *item, const char *reason)
{
    return hone_fail(p->err, status, p->at, item, "%s", reason);
}

void hone_pickle_deinit(hone_pickle *p)
{
    hone_arena_deinit(&p->arena);
    *p = (hone_pickle){0};
}

bool hone_pickle_text_is(const hone_pickle_value *value, const char *text)
{
    return (value->type == HONE_PICKLE_STRING || value->type == HONE_PICKLE_BYTES) &&
           value->u.text.len == strlen(text) && memcmp(value->u.text.data, text, value->u.text.len) == 0;
}

static hone_status fail_opcode(struct pickle_vm *vm, uint8_t opcode)
{
    const char *name = hone_pickle_refused_opcode(opcode);
    if (name)
        return hone_fail(vm->p->err, HONE_ERROR_UNSUPPORTED, vm->p->at, name, "a pickle opcode that is not handled");
    return hone_fail(vm->p->err, HONE_ERROR_DATA, vm->p->at, NULL, "0x%02x is no pickle opcode", opcode);
}

/* Out of bytes: a fact of its own, because who reads a stream may have more of them. */
static hone_status fail_truncated(struct pickle_vm *vm)
{
    vm->p->ran_out = true;
    return hone_pickle_fail(vm->p, HONE_ERROR_DATA, NULL, "the pickle ends early");
}

static hone_status run(struct pickle_vm *vm)
{
    for (long n = 0; !vm->stopped; n++) {
        vm->p->at = (uint32_t)hone_cursor_offset(&vm->c);
        if (n == MAX_OPCODES)
            return hone_fail(vm->p->err, HONE_ERROR_LIMIT, vm->p->at, NULL, "more than %d pickle opcodes", MAX_OPCODES);
        const uint8_t opcode = hone_cursor_u8(&vm->c);
        if (vm->c.bad)
            return fail_truncated(vm);
        const hone_pickle_op op = hone_pickle_ops[opcode];
        if (!op)
            return fail_opcode(vm, opcode);
        const hone_status status = op(vm, opcode);
        if (vm->c.bad)
            return fail_truncated(vm);
        HONE_TRY(status);
    }
    return HONE_OK;
}

hone_status hone_unpickle(const void *bytes, size_t nbytes, const hone_pickle_dialect *dialect, hone_pickle *out,
                          hone_error *err)
{
    *out = (hone_pickle){.err = err};
    if (nbytes > HONE_MAX_PICKLE_NBYTES)
        return hone_fail(err, HONE_ERROR_LIMIT, 0, NULL, "a pickle of %zu bytes, at most %d are read", nbytes,
                         HONE_MAX_PICKLE_NBYTES);
    struct pickle_vm vm = {.p = out, .c = hone_cursor_init(bytes, nbytes), .dialect = dialect};
    const hone_status status = run(&vm);
    out->nbytes = (size_t)hone_cursor_offset(&vm.c);
    out->err = NULL;
    hone_release(vm.stack);
    hone_release(vm.marks);
    hone_release(vm.memo);
    if (status != HONE_OK) {
        const bool ran_out = out->ran_out;
        hone_pickle_deinit(out);
        out->ran_out = ran_out;
    }
    return status;
}

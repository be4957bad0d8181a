/* SPDX-License-Identifier: MIT */
/* The opcodes of a pickle, in groups. Each function is one opcode, or several that differ in the width of a number. */
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/pickle_vm.h"

/* A tuple of more items than this, or as many open marks, is no checkpoint's. Memo entries are numbered from 0 on. */
enum { MAX_STACK = 4 << 20, MAX_MEMO = 4 << 20, MAX_NAME_NBYTES = 255 };

static hone_status fail_data(struct pickle_vm *vm, const char *reason)
{
    return hone_pickle_fail(vm->p, HONE_ERROR_DATA, NULL, reason);
}

static hone_status fail_limit(struct pickle_vm *vm, const char *reason)
{
    return hone_pickle_fail(vm->p, HONE_ERROR_LIMIT, NULL, reason);
}

static size_t stack_floor(const struct pickle_vm *vm)
{
    return vm->n_marks > 0 ? vm->marks[vm->n_marks - 1] : 0;
}

static hone_status push(struct pickle_vm *vm, hone_pickle_value *value)
{
    if (vm->n_stack == MAX_STACK)
        return fail_limit(vm, "the pickle's stack grows too high");
    hone_pickle_value **grown = hone_grow(vm->stack, &vm->cap_stack, vm->n_stack + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(vm->p->err, vm->n_stack * sizeof *grown);
    vm->stack = grown;
    vm->stack[vm->n_stack++] = value;
    return HONE_OK;
}

/* NULL when nothing lies above the last mark: the caller fails with fail_underflow(). */
static hone_pickle_value *pop(struct pickle_vm *vm)
{
    return vm->n_stack > stack_floor(vm) ? vm->stack[--vm->n_stack] : NULL;
}

static hone_pickle_value *top(const struct pickle_vm *vm)
{
    return vm->n_stack > stack_floor(vm) ? vm->stack[vm->n_stack - 1] : NULL;
}

static hone_status fail_underflow(struct pickle_vm *vm)
{
    return fail_data(vm, "the opcode finds too few values on the stack");
}

static hone_pickle_value *new_value(struct pickle_vm *vm, hone_pickle_type type)
{
    hone_pickle_value *value = hone_pickle_alloc(vm->p, 1, sizeof *value);
    if (value)
        *value = (hone_pickle_value){.type = (uint8_t)type, .at = vm->p->at};
    return value;
}

static hone_status push_value(struct pickle_vm *vm, const hone_pickle_value *like)
{
    hone_pickle_value *value = new_value(vm, HONE_PICKLE_NONE);
    if (!value)
        return hone_pickle_fail_memory(vm->p);
    value->type = like->type;
    value->u = like->u;
    return push(vm, value);
}

/* Append the topmost n values of the stack to a container; they stay on the stack. */
static hone_status append_items(struct pickle_vm *vm, hone_pickle_value *to, size_t n)
{
    struct hone_pickle_items *items = &to->u.items;
    if (n > items->cap - items->n) {
        /* The old array stays in the arena; doubling keeps the waste below the use. The stack's bound keeps n in 32
         * bits. */
        const size_t need = items->n + n, cap = need > 2 * (size_t)items->cap ? need : 2 * (size_t)items->cap;
        hone_pickle_value **grown = hone_pickle_alloc(vm->p, cap, sizeof *grown);
        if (!grown)
            return hone_pickle_fail_memory(vm->p);
        if (items->n > 0)
            memcpy(grown, items->at, items->n * sizeof *grown);
        items->at = grown;
        items->cap = (uint32_t)cap;
    }
    if (n > 0)
        memcpy(items->at + items->n, vm->stack + vm->n_stack - n, n * sizeof *items->at);
    items->n += (uint32_t)n;
    return HONE_OK;
}

/* Replace the topmost n values by a new container of them. */
static hone_status gather(struct pickle_vm *vm, hone_pickle_type type, size_t n)
{
    if (n > vm->n_stack - stack_floor(vm))
        return fail_underflow(vm);
    hone_pickle_value *value = new_value(vm, type);
    if (!value)
        return hone_pickle_fail_memory(vm->p);
    HONE_TRY(append_items(vm, value, n));
    vm->n_stack -= n;
    return push(vm, value);
}

/* Close the last mark: *n gets the number of values above it. */
static hone_status close_mark(struct pickle_vm *vm, size_t *n)
{
    *n = 0;
    if (vm->n_marks == 0)
        return fail_data(vm, "the opcode finds no mark on the stack");
    *n = vm->n_stack - vm->marks[--vm->n_marks];
    return HONE_OK;
}

/* --- the machine itself --- */

static hone_status op_proto(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    if (hone_cursor_u8(&vm->c) > 5)
        return hone_pickle_fail(vm->p, HONE_ERROR_UNSUPPORTED, NULL, "a pickle protocol above 5");
    return HONE_OK;
}

static hone_status op_frame(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    if (hone_cursor_u64(&vm->c) > hone_cursor_left(&vm->c))
        vm->c.bad = true;
    return HONE_OK;
}

static hone_status op_stop(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    if (vm->n_stack != 1 || vm->n_marks != 0)
        return fail_data(vm, "the pickle stops without exactly one value");
    vm->p->root = vm->stack[0];
    vm->stopped = true;
    return HONE_OK;
}

static hone_status op_mark(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    if (vm->n_marks == MAX_STACK)
        return fail_limit(vm, "the pickle opens too many marks");
    size_t *grown = hone_grow(vm->marks, &vm->cap_marks, vm->n_marks + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(vm->p->err, vm->n_marks * sizeof *grown);
    vm->marks = grown;
    vm->marks[vm->n_marks++] = vm->n_stack;
    return HONE_OK;
}

static hone_status op_pop(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    if (pop(vm))
        return HONE_OK;
    size_t n;
    return close_mark(vm, &n); /* POP on a mark takes the mark away */
}

static hone_status op_pop_mark(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    size_t n;
    HONE_TRY(close_mark(vm, &n));
    vm->n_stack -= n;
    return HONE_OK;
}

static hone_status op_dup(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    return top(vm) ? push(vm, top(vm)) : fail_underflow(vm);
}

static hone_status store_memo(struct pickle_vm *vm, size_t index)
{
    if (vm->c.bad)
        return HONE_OK;
    if (!top(vm))
        return fail_underflow(vm);
    if (index >= MAX_MEMO)
        return fail_limit(vm, "the pickle's memo grows too large");
    if (index >= vm->n_memo) {
        hone_pickle_value **grown = hone_grow(vm->memo, &vm->cap_memo, index + 1, sizeof *grown);
        if (!grown)
            return hone_fail_nomem(vm->p->err, index * sizeof *grown);
        vm->memo = grown;
        memset(grown + vm->n_memo, 0, (index + 1 - vm->n_memo) * sizeof *grown);
        vm->n_memo = index + 1;
    }
    vm->memo[index] = top(vm);
    return HONE_OK;
}

static hone_status op_put(struct pickle_vm *vm, uint8_t opcode)
{
    if (opcode == 0x94) /* MEMOIZE: the next free entry */
        return store_memo(vm, vm->n_memo);
    return store_memo(vm, opcode == 'q' ? hone_cursor_u8(&vm->c) : hone_cursor_u32(&vm->c));
}

static hone_status op_get(struct pickle_vm *vm, uint8_t opcode)
{
    const size_t index = opcode == 'h' ? hone_cursor_u8(&vm->c) : hone_cursor_u32(&vm->c);
    if (vm->c.bad)
        return HONE_OK;
    if (index >= vm->n_memo || !vm->memo[index])
        return fail_data(vm, "the pickle asks for a memo entry that it never made");
    return push(vm, vm->memo[index]);
}

/* --- scalars --- */

static hone_status op_constant(struct pickle_vm *vm, uint8_t opcode)
{
    hone_pickle_value value = {.type = HONE_PICKLE_NONE};
    if (opcode != 'N') {
        value.type = HONE_PICKLE_BOOL;
        value.u.i = opcode == 0x88;
    }
    return push_value(vm, &value);
}

static hone_status op_int(struct pickle_vm *vm, uint8_t opcode)
{
    hone_pickle_value value = {.type = HONE_PICKLE_INT};
    if (opcode == 'K')
        value.u.i = hone_cursor_u8(&vm->c);
    else if (opcode == 'M')
        value.u.i = hone_cursor_u16(&vm->c);
    else
        value.u.i = (int32_t)hone_cursor_u32(&vm->c);
    return push_value(vm, &value);
}

/* n bytes, two's complement, little-endian; none are 0. */
static hone_status op_long(struct pickle_vm *vm, uint8_t opcode)
{
    const uint32_t n = opcode == 0x8a ? hone_cursor_u8(&vm->c) : hone_cursor_u32(&vm->c);
    const uint8_t *bytes = hone_cursor_take(&vm->c, n);
    if (!bytes)
        return HONE_OK;
    hone_pickle_value value = {.type = HONE_PICKLE_INT};
    if (n > 8) {
        value.type = HONE_PICKLE_BIG;
        value.u.text.data = (const char *)bytes;
        value.u.text.len = n;
    } else if (n > 0) {
        uint64_t v = bytes[n - 1] & 0x80 ? UINT64_MAX : 0;
        for (uint32_t i = n; i-- > 0;)
            v = v << 8 | bytes[i];
        value.u.i = (int64_t)v;
    }
    return push_value(vm, &value);
}

static hone_status op_float(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    const uint8_t *bytes = hone_cursor_take(&vm->c, 8);
    if (!bytes)
        return HONE_OK;
    hone_pickle_value value = {.type = HONE_PICKLE_FLOAT};
    const uint64_t bits = __builtin_bswap64(hone_load_u64(bytes));
    memcpy(&value.u.f, &bits, sizeof bits);
    return push_value(vm, &value);
}

static hone_status op_text(struct pickle_vm *vm, uint8_t opcode)
{
    uint64_t len;
    switch (opcode) {
    case 'U':  /* SHORT_BINSTRING, of Python 2 */
    case 'C':  /* SHORT_BINBYTES */
    case 0x8c: /* SHORT_BINUNICODE */
        len = hone_cursor_u8(&vm->c);
        break;
    case 'T': /* BINSTRING, of Python 2 */
    case 'X': /* BINUNICODE */
    case 'B': /* BINBYTES */
        len = hone_cursor_u32(&vm->c);
        break;
    default: /* BINUNICODE8, BINBYTES8, BYTEARRAY8 */
        len = hone_cursor_u64(&vm->c);
    }
    const bool is_bytes = opcode == 'C' || opcode == 'B' || opcode == 0x8e || opcode == 0x96;
    const uint8_t *data = hone_cursor_take(&vm->c, len);
    if (!data)
        return HONE_OK;
    hone_pickle_value value = {.type = is_bytes ? HONE_PICKLE_BYTES : HONE_PICKLE_STRING};
    value.u.text.data = (const char *)data;
    value.u.text.len = (uint32_t)len; /* at most the pickle's own length */
    return push_value(vm, &value);
}

/* --- containers --- */

static hone_status op_empty(struct pickle_vm *vm, uint8_t opcode)
{
    switch (opcode) {
    case ')':
        return gather(vm, HONE_PICKLE_TUPLE, 0);
    case ']':
        return gather(vm, HONE_PICKLE_LIST, 0);
    case '}':
        return gather(vm, HONE_PICKLE_DICT, 0);
    default:
        return gather(vm, HONE_PICKLE_SET, 0);
    }
}

static hone_status op_tuple_n(struct pickle_vm *vm, uint8_t opcode)
{
    return gather(vm, HONE_PICKLE_TUPLE, opcode - 0x85u + 1);
}

/* TUPLE, LIST, DICT, FROZENSET: of everything above the mark. */
static hone_status op_gather(struct pickle_vm *vm, uint8_t opcode)
{
    size_t n;
    HONE_TRY(close_mark(vm, &n));
    if (opcode == 't')
        return gather(vm, HONE_PICKLE_TUPLE, n);
    if (opcode == 'l')
        return gather(vm, HONE_PICKLE_LIST, n);
    if (opcode != 'd')
        return gather(vm, HONE_PICKLE_SET, n);
    return n % 2 == 0 ? gather(vm, HONE_PICKLE_DICT, n) : fail_data(vm, "a key without a value");
}

static hone_status extend(struct pickle_vm *vm, hone_pickle_type type, size_t n)
{
    if (n + 1 > vm->n_stack - stack_floor(vm))
        return fail_underflow(vm);
    hone_pickle_value *to = vm->stack[vm->n_stack - n - 1];
    if (to->type != type)
        return fail_data(vm, "items for something that is no container of them");
    if (type == HONE_PICKLE_DICT && n % 2 != 0)
        return fail_data(vm, "a key without a value");
    HONE_TRY(append_items(vm, to, n));
    vm->n_stack -= n;
    return HONE_OK;
}

static hone_status op_extend(struct pickle_vm *vm, uint8_t opcode)
{
    if (opcode == 'a')
        return extend(vm, HONE_PICKLE_LIST, 1);
    if (opcode == 's')
        return extend(vm, HONE_PICKLE_DICT, 2);
    size_t n;
    HONE_TRY(close_mark(vm, &n));
    return extend(vm, opcode == 'e' ? HONE_PICKLE_LIST : opcode == 'u' ? HONE_PICKLE_DICT : HONE_PICKLE_SET, n);
}

/* --- what Python would run, and we look up --- */

static hone_status push_global(struct pickle_vm *vm, const char *module, size_t module_len, const char *name,
                               size_t name_len)
{
    char m[MAX_NAME_NBYTES + 1], n[MAX_NAME_NBYTES + 1];
    if (module_len >= sizeof m || name_len >= sizeof n)
        return fail_limit(vm, "the name of a global is too long");
    memcpy(m, module, module_len);
    memcpy(n, name, name_len);
    m[module_len] = '\0';
    n[name_len] = '\0';
    hone_pickle_value *value = new_value(vm, HONE_PICKLE_GLOBAL);
    if (!value)
        return hone_pickle_fail_memory(vm->p);
    HONE_TRY(vm->dialect->find_global(vm->p, m, n, value));
    return push(vm, value);
}

static const char *take_line(struct pickle_vm *vm, size_t *len)
{
    const size_t left = hone_cursor_left(&vm->c);
    const uint8_t *end = left > 0 ? memchr(vm->c.p, '\n', left) : NULL;
    *len = end ? (size_t)(end - vm->c.p) : left;
    return (const char *)hone_cursor_take(&vm->c, *len + 1);
}

static hone_status op_global(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    size_t module_len, name_len;
    const char *module = take_line(vm, &module_len), *name = take_line(vm, &name_len);
    return module && name ? push_global(vm, module, module_len, name, name_len) : HONE_OK;
}

static hone_status op_stack_global(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    const hone_pickle_value *name = pop(vm), *module = pop(vm);
    if (!name || !module)
        return fail_underflow(vm);
    if (name->type != HONE_PICKLE_STRING || module->type != HONE_PICKLE_STRING)
        return fail_data(vm, "the name of a global is no string");
    return push_global(vm, module->u.text.data, module->u.text.len, name->u.text.data, name->u.text.len);
}

/* REDUCE and NEWOBJ: callable and arguments. */
static hone_status op_call(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    const hone_pickle_value *args = pop(vm), *global = pop(vm);
    if (!args || !global)
        return fail_underflow(vm);
    if (global->type != HONE_PICKLE_GLOBAL || args->type != HONE_PICKLE_TUPLE)
        return fail_data(vm, "a call of something that is no function, or without arguments");
    hone_pickle_value *value = new_value(vm, HONE_PICKLE_OPAQUE);
    if (!value)
        return hone_pickle_fail_memory(vm->p);
    HONE_TRY(vm->dialect->call(vm->p, global, args, value));
    return push(vm, value);
}

/* Attributes for an object. A state dict's _metadata comes this way; attributes hold no tensors that we list. */
static hone_status op_build(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    if (!pop(vm) || !top(vm))
        return fail_underflow(vm);
    const uint8_t type = top(vm)->type;
    if (type != HONE_PICKLE_DICT && type != HONE_PICKLE_OBJECT && type != HONE_PICKLE_OPAQUE)
        return fail_data(vm, "attributes for something that has none");
    return HONE_OK;
}

static hone_status op_persistent(struct pickle_vm *vm, uint8_t opcode)
{
    (void)opcode;
    const hone_pickle_value *id = pop(vm);
    if (!id)
        return fail_underflow(vm);
    hone_pickle_value *value = new_value(vm, HONE_PICKLE_OPAQUE);
    if (!value)
        return hone_pickle_fail_memory(vm->p);
    HONE_TRY(vm->dialect->load_persistent(vm->p, id, value));
    return push(vm, value);
}

/* clang-format off */
const hone_pickle_op hone_pickle_ops[256] = {
    [0x80] = op_proto, [0x95] = op_frame, ['.'] = op_stop,
    ['('] = op_mark, ['0'] = op_pop, ['1'] = op_pop_mark, ['2'] = op_dup,
    ['q'] = op_put, ['r'] = op_put, [0x94] = op_put,
    ['h'] = op_get, ['j'] = op_get,
    ['N'] = op_constant, [0x88] = op_constant, [0x89] = op_constant,
    ['J'] = op_int, ['K'] = op_int, ['M'] = op_int,
    [0x8a] = op_long, [0x8b] = op_long, ['G'] = op_float,
    ['T'] = op_text, ['U'] = op_text, ['X'] = op_text, [0x8c] = op_text, [0x8d] = op_text,
    ['B'] = op_text, ['C'] = op_text, [0x8e] = op_text, [0x96] = op_text,
    [')'] = op_empty, [']'] = op_empty, ['}'] = op_empty, [0x8f] = op_empty,
    [0x85] = op_tuple_n, [0x86] = op_tuple_n, [0x87] = op_tuple_n,
    ['t'] = op_gather, ['l'] = op_gather, ['d'] = op_gather, [0x91] = op_gather,
    ['a'] = op_extend, ['e'] = op_extend, ['s'] = op_extend, ['u'] = op_extend, [0x90] = op_extend,
    ['c'] = op_global, [0x93] = op_stack_global,
    ['R'] = op_call, [0x81] = op_call, ['b'] = op_build, ['Q'] = op_persistent,
};

static const char *const refused_opcodes[256] = {
    ['I'] = "INT", ['L'] = "LONG", ['F'] = "FLOAT", ['S'] = "STRING", ['V'] = "UNICODE", ['p'] = "PUT", ['g'] = "GET",
    ['P'] = "PERSID", ['i'] = "INST", ['o'] = "OBJ", [0x82] = "EXT1", [0x83] = "EXT2", [0x84] = "EXT4",
    [0x92] = "NEWOBJ_EX", [0x97] = "NEXT_BUFFER", [0x98] = "READONLY_BUFFER",
};
/* clang-format on */

const char *hone_pickle_refused_opcode(uint8_t opcode)
{
    return refused_opcodes[opcode];
}

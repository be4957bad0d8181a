/* SPDX-License-Identifier: MIT */
/* The names that a PyTorch checkpoint may use, and what they make. Sources: torch/_utils.py, torch/serialization.py. */
#include "formats/torch_objects.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"

/* How a global behaves when called. */
enum behaviour {
    TENSOR_V1, /* _rebuild_tensor(storage, offset, size, stride) */
    TENSOR_V2, /* ... requires_grad, hooks[, metadata]) */
    TENSOR_V3, /* ... requires_grad, hooks, dtype[, metadata]) */
    PARAMETER, /* (tensor, ...): the tensor */
    FROM_TYPE, /* (function, type, arguments, state): function(*arguments) */
    DICT,      /* () or (list of pairs,) */
    SIZE,      /* (tuple,): the tuple */
    SET,       /* ([list],) */
    HARMLESS,  /* any arguments: an opaque value */
    TYPE,      /* an element type, not to be called */
    CLASS,     /* a name passed around, not to be called */
    REFUSED    /* a tensor of a kind that is not handled */
};

struct global {
    const char *module, *name;
    enum behaviour behaviour;
    hone_torch_type type; /* of TYPE */
};

#define STORAGE(name_, dtype_)                                                                                         \
    {"torch", name_, TYPE, {name_, dtype_, false}},                                                                    \
    {                                                                                                                  \
        "torch.cuda", name_, TYPE,                                                                                     \
        {                                                                                                              \
            name_, dtype_, false                                                                                       \
        }                                                                                                              \
    }
#define DTYPE(name_, dtype_)                                                                                           \
    {                                                                                                                  \
        "torch", name_, TYPE,                                                                                          \
        {                                                                                                              \
            name_, dtype_, false                                                                                       \
        }                                                                                                              \
    }
#define PLAIN(module, name, behaviour)                                                                                 \
    {                                                                                                                  \
        module, name, behaviour,                                                                                       \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }

static const struct global globals[] = {
    PLAIN("torch._utils", "_rebuild_tensor_v2", TENSOR_V2),
    PLAIN("torch._utils", "_rebuild_tensor_v3", TENSOR_V3),
    PLAIN("torch._utils", "_rebuild_tensor", TENSOR_V1),
    PLAIN("torch._utils", "_rebuild_parameter", PARAMETER),
    PLAIN("torch._utils", "_rebuild_parameter_with_state", PARAMETER),
    PLAIN("torch._tensor", "_rebuild_from_type_v2", FROM_TYPE),
    PLAIN("torch.nn.parameter", "Parameter", CLASS),
    PLAIN("torch", "Tensor", CLASS),
    PLAIN("torch", "Size", SIZE),
    PLAIN("torch", "device", HARMLESS),
    PLAIN("collections", "OrderedDict", DICT),
    PLAIN("builtins", "set", SET),
    PLAIN("__builtin__", "set", SET),
    PLAIN("builtins", "frozenset", SET),
    PLAIN("__builtin__", "frozenset", SET),
    PLAIN("builtins", "complex", HARMLESS),
    PLAIN("__builtin__", "complex", HARMLESS),
    PLAIN("builtins", "bytearray", HARMLESS),
    PLAIN("__builtin__", "bytearray", HARMLESS),
    PLAIN("_codecs", "encode", HARMLESS), /* bytes, in protocol 2 */
    STORAGE("DoubleStorage", HONE_F64),
    STORAGE("FloatStorage", HONE_F32),
    STORAGE("HalfStorage", HONE_F16),
    STORAGE("BFloat16Storage", HONE_BF16),
    STORAGE("LongStorage", HONE_I64),
    STORAGE("IntStorage", HONE_I32),
    STORAGE("ShortStorage", HONE_I16),
    STORAGE("CharStorage", HONE_I8),
    STORAGE("ByteStorage", HONE_U8),
    STORAGE("BoolStorage", HONE_BOOL),
    STORAGE("ComplexDoubleStorage", HONE_INVALID),
    STORAGE("ComplexFloatStorage", HONE_C64),
    STORAGE("QInt8Storage", HONE_INVALID),
    STORAGE("QUInt8Storage", HONE_INVALID),
    STORAGE("QInt32Storage", HONE_INVALID),
    STORAGE("QUInt4x2Storage", HONE_INVALID),
    STORAGE("QUInt2x4Storage", HONE_INVALID),
    {"torch.storage", "UntypedStorage", TYPE, {"UntypedStorage", HONE_U8, true}},
    {"torch", "UntypedStorage", TYPE, {"UntypedStorage", HONE_U8, true}},
    PLAIN("torch.storage", "TypedStorage", CLASS),
    DTYPE("float64", HONE_F64),
    DTYPE("float32", HONE_F32),
    DTYPE("float16", HONE_F16),
    DTYPE("bfloat16", HONE_BF16),
    DTYPE("float8_e4m3fn", HONE_F8_E4M3),
    DTYPE("float8_e5m2", HONE_F8_E5M2),
    DTYPE("float8_e8m0fnu", HONE_F8_E8M0),
    DTYPE("float8_e4m3fnuz", HONE_F8_E4M3FNUZ),
    DTYPE("float8_e5m2fnuz", HONE_F8_E5M2FNUZ),
    DTYPE("float4_e2m1fn_x2", HONE_INVALID),
    DTYPE("int64", HONE_I64),
    DTYPE("int32", HONE_I32),
    DTYPE("int16", HONE_I16),
    DTYPE("int8", HONE_I8),
    DTYPE("uint64", HONE_U64),
    DTYPE("uint32", HONE_U32),
    DTYPE("uint16", HONE_U16),
    DTYPE("uint8", HONE_U8),
    DTYPE("bool", HONE_BOOL),
    DTYPE("complex32", HONE_INVALID),
    DTYPE("complex64", HONE_C64),
    DTYPE("complex128", HONE_INVALID),
    PLAIN("torch._utils", "_rebuild_qtensor", REFUSED),
    PLAIN("torch._utils", "_rebuild_sparse_tensor", REFUSED),
    PLAIN("torch._utils", "_rebuild_nested_tensor", REFUSED),
    PLAIN("torch._utils", "_rebuild_meta_tensor_no_storage", REFUSED),
    PLAIN("torch._utils", "_rebuild_wrapper_subclass", REFUSED),
    PLAIN("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", REFUSED),
    PLAIN("torch._utils", "_rebuild_device_tensor_from_numpy", REFUSED),
};

static hone_status find_global(hone_pickle *p, const char *module, const char *name, hone_pickle_value *out)
{
    char full[2 * 256 + 1];
    (void)snprintf(full, sizeof full, "%s.%s", module, name);
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (strcmp(globals[i].module, module) != 0 || strcmp(globals[i].name, name) != 0)
            continue;
        if (globals[i].behaviour == REFUSED)
            return hone_pickle_fail(p, HONE_ERROR_UNSUPPORTED, full, "a tensor of a kind that is not handled");
        out->u.object = &globals[i];
        return HONE_OK;
    }
    return hone_pickle_fail(p, HONE_ERROR_UNSUPPORTED, full,
                            "the pickle names this class or function, and only tensors and plain data are read");
}

static hone_status fail_args(hone_pickle *p, const struct global *global)
{
    char full[256];
    (void)snprintf(full, sizeof full, "%s.%s", global->module, global->name);
    return hone_pickle_fail(p, HONE_ERROR_DATA, full, "called with the wrong arguments");
}

static const hone_torch_type *type_of(const hone_pickle_value *value)
{
    if (value->type != HONE_PICKLE_GLOBAL)
        return NULL;
    const struct global *global = value->u.object;
    return global->behaviour == TYPE ? &global->type : NULL;
}

const hone_torch_storage *hone_torch_storage_of(const hone_pickle_value *value)
{
    return value->type == HONE_PICKLE_OBJECT && value->tag == HONE_TORCH_STORAGE ? value->u.object : NULL;
}

const hone_torch_tensor *hone_torch_tensor_of(const hone_pickle_value *value)
{
    return value->type == HONE_PICKLE_OBJECT && value->tag == HONE_TORCH_TENSOR ? value->u.object : NULL;
}

uint32_t hone_torch_elem_nbytes(const hone_torch_type *type)
{
    return hone_dtype_describe(type->dtype)->block_nbytes;
}

static bool as_count(const hone_pickle_value *value, uint64_t *out)
{
    if (value->type != HONE_PICKLE_INT || value->u.i < 0)
        return false;
    *out = (uint64_t)value->u.i;
    return true;
}

static bool as_counts(const hone_pickle_value *value, uint64_t *out, unsigned n)
{
    if ((value->type != HONE_PICKLE_TUPLE && value->type != HONE_PICKLE_LIST) || value->u.items.n != n)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!as_count(value->u.items.at[i], &out[i]))
            return false;
    return true;
}

/* The tensor is to be read conjugated or negated when one of its flags is set. */
static bool has_flag(const hone_pickle_value *metadata)
{
    if (metadata->type != HONE_PICKLE_DICT)
        return false;
    for (uint32_t i = 0; i + 1 < metadata->u.items.n; i += 2) {
        const hone_pickle_value *value = metadata->u.items.at[i + 1];
        if (value->type == HONE_PICKLE_BOOL && value->u.i)
            return true;
    }
    return false;
}

static hone_status rebuild_tensor(hone_pickle *p, const struct global *global, const hone_pickle_value *args,
                                  hone_pickle_value *out)
{
    static const uint32_t n_required[] = {[TENSOR_V1] = 4, [TENSOR_V2] = 6, [TENSOR_V3] = 7};
    const uint32_t n = args->u.items.n, required = n_required[global->behaviour];
    hone_pickle_value *const *arg = args->u.items.at;
    if (n < required || n > required + (global->behaviour != TENSOR_V1))
        return fail_args(p, global);
    hone_torch_tensor *tensor = hone_pickle_alloc(p, 1, sizeof *tensor);
    if (!tensor)
        return hone_pickle_fail_memory(p);
    *tensor = (hone_torch_tensor){.storage = hone_torch_storage_of(arg[0])};
    if (!tensor->storage || (arg[2]->type != HONE_PICKLE_TUPLE && arg[2]->type != HONE_PICKLE_LIST))
        return fail_args(p, global);
    tensor->type = global->behaviour == TENSOR_V3 ? type_of(arg[6]) : tensor->storage->type;
    if (!tensor->type || (global->behaviour != TENSOR_V3 && tensor->type->is_untyped))
        return fail_args(p, global);
    if (arg[2]->u.items.n > HONE_MAX_DIMS)
        return hone_pickle_fail(p, HONE_ERROR_UNSUPPORTED, NULL, "a tensor of more than 8 axes");
    tensor->n_dims = arg[2]->u.items.n;
    if (!as_count(arg[1], &tensor->first) || !as_counts(arg[2], tensor->shape, tensor->n_dims) ||
        !as_counts(arg[3], tensor->strides, tensor->n_dims))
        return fail_args(p, global);
    if (n > required && has_flag(arg[n - 1]))
        return hone_pickle_fail(p, HONE_ERROR_UNSUPPORTED, NULL, "a conjugated or negated view");
    out->type = HONE_PICKLE_OBJECT;
    out->tag = HONE_TORCH_TENSOR;
    out->u.object = tensor;
    return HONE_OK;
}

/* OrderedDict([(key, value), ...]), as Python 2 pickles it. */
static hone_status make_dict(hone_pickle *p, const struct global *global, const hone_pickle_value *args,
                             hone_pickle_value *out)
{
    out->type = HONE_PICKLE_DICT;
    out->u.items = (struct hone_pickle_items){0};
    if (args->u.items.n == 0)
        return HONE_OK;
    const hone_pickle_value *pairs = args->u.items.at[0];
    if (args->u.items.n != 1 || (pairs->type != HONE_PICKLE_LIST && pairs->type != HONE_PICKLE_TUPLE))
        return fail_args(p, global);
    const uint32_t n = pairs->u.items.n;
    hone_pickle_value **items = hone_pickle_alloc(p, 2 * (size_t)n, sizeof *items);
    if (!items)
        return hone_pickle_fail_memory(p);
    for (uint32_t i = 0; i < n; i++) {
        const hone_pickle_value *pair = pairs->u.items.at[i];
        if ((pair->type != HONE_PICKLE_LIST && pair->type != HONE_PICKLE_TUPLE) || pair->u.items.n != 2)
            return fail_args(p, global);
        items[2 * i] = pair->u.items.at[0];
        items[2 * i + 1] = pair->u.items.at[1];
    }
    out->u.items = (struct hone_pickle_items){.at = items, .n = 2 * n, .cap = 2 * n};
    return HONE_OK;
}

/* The one argument, when it is a container; out gets its items. */
static hone_status take_items(hone_pickle *p, const struct global *global, const hone_pickle_value *args,
                              hone_pickle_type type, hone_pickle_value *out)
{
    out->type = (uint8_t)type;
    out->u.items = (struct hone_pickle_items){0};
    if (args->u.items.n == 0)
        return HONE_OK;
    const hone_pickle_value *arg = args->u.items.at[0];
    if (args->u.items.n != 1 || (arg->type != HONE_PICKLE_LIST && arg->type != HONE_PICKLE_TUPLE))
        return fail_args(p, global);
    out->u.items = arg->u.items;
    out->u.items.cap = arg->u.items.n; /* the array stays the argument's: grow into another */
    return HONE_OK;
}

static hone_status call_global(hone_pickle *p, const struct global *global, const hone_pickle_value *args,
                               hone_pickle_value *out)
{
    switch (global->behaviour) {
    case TENSOR_V1:
    case TENSOR_V2:
    case TENSOR_V3:
        return rebuild_tensor(p, global, args, out);
    case PARAMETER:
        if (args->u.items.n < 3 || !hone_torch_tensor_of(args->u.items.at[0]))
            return fail_args(p, global);
        out->type = HONE_PICKLE_OBJECT;
        out->tag = HONE_TORCH_TENSOR;
        out->u.object = args->u.items.at[0]->u.object;
        return HONE_OK;
    case DICT:
        return make_dict(p, global, args, out);
    case SIZE:
        return take_items(p, global, args, HONE_PICKLE_TUPLE, out);
    case SET:
        return take_items(p, global, args, HONE_PICKLE_SET, out);
    case HARMLESS:
        out->type = HONE_PICKLE_OPAQUE;
        return HONE_OK;
    default:
        return fail_args(p, global);
    }
}

static hone_status call(hone_pickle *p, const hone_pickle_value *value, const hone_pickle_value *args,
                        hone_pickle_value *out)
{
    const struct global *global = value->u.object;
    if (global->behaviour != FROM_TYPE)
        return call_global(p, global, args, out);
    hone_pickle_value *const *arg = args->u.items.at;
    if (args->u.items.n != 4 || arg[0]->type != HONE_PICKLE_GLOBAL || arg[1]->type != HONE_PICKLE_GLOBAL ||
        arg[2]->type != HONE_PICKLE_TUPLE)
        return fail_args(p, global);
    return call_global(p, arg[0]->u.object, arg[2], out);
}

/* (view key, offset, size) in elements, or None. */
static bool read_part(const hone_pickle_value *value, hone_torch_storage *storage)
{
    if (value->type == HONE_PICKLE_NONE)
        return true;
    uint64_t end;
    if (value->type != HONE_PICKLE_TUPLE || value->u.items.n != 3 ||
        !as_count(value->u.items.at[1], &storage->first_part) ||
        !as_count(value->u.items.at[2], &storage->nelems_part) ||
        __builtin_add_overflow(storage->first_part, storage->nelems_part, &end) || end > storage->nelems)
        return false;
    storage->is_part = true;
    return true;
}

/* ("storage", type, key, device, number of elements[, part of it]) */
static hone_status load_persistent(hone_pickle *p, const hone_pickle_value *id, hone_pickle_value *out)
{
    static const char wrong[] = "a persistent id that describes no storage";
    const uint32_t n = id->type == HONE_PICKLE_TUPLE ? id->u.items.n : 0;
    if ((n != 5 && n != 6) || !hone_pickle_text_is(id->u.items.at[0], "storage"))
        return hone_pickle_fail(p, HONE_ERROR_DATA, NULL, wrong);
    hone_pickle_value *const *item = id->u.items.at;
    hone_torch_storage *storage = hone_pickle_alloc(p, 1, sizeof *storage);
    if (!storage)
        return hone_pickle_fail_memory(p);
    *storage = (hone_torch_storage){.type = type_of(item[1]), .at = p->at, .next = p->dialect};
    if (!storage->type || item[2]->type != HONE_PICKLE_STRING || !as_count(item[4], &storage->nelems) ||
        (n == 6 && !read_part(item[5], storage)))
        return hone_pickle_fail(p, HONE_ERROR_DATA, NULL, wrong);
    const uint32_t len = item[2]->u.text.len;
    char *key = hone_pickle_alloc(p, (size_t)len + 1, 1);
    if (!key)
        return hone_pickle_fail_memory(p);
    memcpy(key, item[2]->u.text.data, len);
    key[len] = '\0';
    if (strlen(key) != len)
        return hone_pickle_fail(p, HONE_ERROR_DATA, NULL, wrong);
    storage->key = key;
    p->dialect = storage;
    out->type = HONE_PICKLE_OBJECT;
    out->tag = HONE_TORCH_STORAGE;
    out->u.object = storage;
    return HONE_OK;
}

const hone_torch_storage *hone_torch_storages(const hone_pickle *p)
{
    return p->dialect;
}

const hone_pickle_dialect hone_torch_dialect = {
    .find_global = find_global, .call = call, .load_persistent = load_persistent};

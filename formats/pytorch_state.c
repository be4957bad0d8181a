/* SPDX-License-Identifier: MIT */
#include "formats/pytorch_state.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

/* MAX_VISITS: containers can share their parts, so that a small pickle describes more paths than there are atoms. */
enum { MAX_DEPTH = 64, MAX_NAME_NBYTES = 1023, MAX_TENSORS = 1 << 20, MAX_VISITS = 32 << 20, MAX_WRAPPERS = 8 };
static const size_t MAX_NAMES_NBYTES = 64 << 20;

struct frame {
    const hone_pickle_value *container;
    uint32_t next;          /* item */
    size_t path_len;        /* of the container itself */
    const char *unnameable; /* why what lies below has no name, or NULL */
};

/* A walk over everything below a value, in order. */
struct walk {
    const hone_torch_state *state;
    uint32_t *n_visits; /* shared by all walks over one pickle */
    struct frame frames[MAX_DEPTH];
    unsigned depth;
    char path[MAX_NAME_NBYTES + 1]; /* of the item last returned */
    size_t path_len;
    hone_error *err;
};

struct found {
    const char *name;
    const hone_pickle_value *tensor;
};

struct listing {
    struct found *tensors;
    size_t n, cap;
    size_t names_nbytes;
};

uint64_t hone_torch_offset(const hone_torch_state *state, uint64_t at)
{
    return state->pickle_at + (state->pickle_in_place ? at : 0);
}

static hone_status fail_value(const hone_torch_state *state, hone_error *err, hone_status status,
                              const hone_pickle_value *value, const char *name, const char *reason)
{
    return hone_fail(err, status, hone_torch_offset(state, value->at), name, "%s", reason);
}

static bool is_container(const hone_pickle_value *value)
{
    return value->type == HONE_PICKLE_DICT || value->type == HONE_PICKLE_LIST || value->type == HONE_PICKLE_TUPLE;
}

/* Append ".key" to the path of a container; *len gets the new length. Returns NULL, or why that is no name. */
static const char *extend_path(struct walk *w, const struct frame *frame, const char *key, size_t key_len, size_t *len)
{
    size_t at = frame->path_len;
    *len = at;
    if (frame->unnameable)
        return frame->unnameable;
    if (key_len + 1 > MAX_NAME_NBYTES - at)
        return "a tensor whose name is too long";
    if (at > 0)
        w->path[at++] = '.';
    memcpy(w->path + at, key, key_len);
    *len = at + key_len;
    w->path[*len] = '\0';
    return NULL;
}

/* The frame's next item; its path is put together when it is a tensor or may hold some. */
static const hone_pickle_value *next_item(struct walk *w, struct frame *frame, size_t *len, const char **unnameable)
{
    const struct hone_pickle_items *items = &frame->container->u.items;
    const bool is_dict = frame->container->type == HONE_PICKLE_DICT;
    const uint32_t index = frame->next;
    const hone_pickle_value *key = is_dict ? items->at[index] : NULL, *value = items->at[index + is_dict];
    frame->next += 1 + is_dict;
    if (!is_container(value) && !hone_torch_tensor_of(value))
        return value;
    char number[24];
    if (key && key->type == HONE_PICKLE_STRING) {
        *unnameable = extend_path(w, frame, key->u.text.data, key->u.text.len, len);
    } else if (!key || key->type == HONE_PICKLE_INT) {
        (void)snprintf(number, sizeof number, "%lld", key ? (long long)key->u.i : (long long)index);
        *unnameable = extend_path(w, frame, number, strlen(number), len);
    } else {
        *len = frame->path_len;
        *unnameable = "a tensor under a key that is neither a string nor a number";
    }
    return value;
}

static hone_status push_frame(struct walk *w, const hone_pickle_value *container, size_t path_len,
                              const char *unnameable)
{
    if (w->depth == MAX_DEPTH)
        return fail_value(w->state, w->err, HONE_ERROR_LIMIT, container, NULL, "nested more than 64 deep");
    w->frames[w->depth++] = (struct frame){.container = container, .path_len = path_len, .unnameable = unnameable};
    return HONE_OK;
}

static hone_status start_walk(struct walk *w, const hone_torch_state *state, const hone_pickle_value *root,
                              uint32_t *n_visits, hone_error *err)
{
    w->state = state;
    w->n_visits = n_visits;
    w->err = err;
    w->depth = 0;
    w->path[0] = '\0';
    return is_container(root) ? push_frame(w, root, 0, NULL) : HONE_OK;
}

/* *tensor gets the next tensor and w->path its name; NULL at the end. *unnameable as in a frame. */
static hone_status next_tensor(struct walk *w, const hone_pickle_value **tensor, const char **unnameable)
{
    *tensor = NULL;
    while (w->depth > 0) {
        struct frame *frame = &w->frames[w->depth - 1];
        if (frame->next >= frame->container->u.items.n) {
            w->depth--;
            continue;
        }
        if (++*w->n_visits > MAX_VISITS)
            return fail_value(w->state, w->err, HONE_ERROR_LIMIT, frame->container, NULL,
                              "containers that share their parts too often");
        size_t len = 0;
        *unnameable = NULL;
        const hone_pickle_value *value = next_item(w, frame, &len, unnameable);
        if (hone_torch_tensor_of(value)) {
            w->path_len = len;
            *tensor = value;
            return HONE_OK;
        }
        if (is_container(value))
            HONE_TRY(push_frame(w, value, len, *unnameable));
    }
    return HONE_OK;
}

/* --- wrappers --- */

static bool is_training_state(const hone_pickle_value *key)
{
    static const char *const prefixes[] = {"optim",     "lr_sched",       "sched",     "scaler",
                                           "rng_state", "cuda_rng_state", "callbacks", "loops"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        const size_t len = strlen(prefixes[i]);
        if (key->type == HONE_PICKLE_STRING && key->u.text.len >= len &&
            memcmp(key->u.text.data, prefixes[i], len) == 0)
            return true;
    }
    return false;
}

static hone_status holds_tensors(const hone_torch_state *state, const hone_pickle_value *value, uint32_t *n_visits,
                                 bool *answer, hone_error *err)
{
    *answer = hone_torch_tensor_of(value) != NULL;
    if (!is_container(value))
        return HONE_OK;
    struct walk w;
    HONE_TRY(start_walk(&w, state, value, n_visits, err));
    const hone_pickle_value *tensor;
    const char *unnameable;
    HONE_TRY(next_tensor(&w, &tensor, &unnameable));
    *answer = tensor != NULL;
    return HONE_OK;
}

/* The dict that root wraps, or NULL. */
static const hone_pickle_value *find_wrapped(const hone_pickle_value *root)
{
    static const char *const names[] = {"state_dict", "model_state_dict", "model", "module"};
    if (root->type != HONE_PICKLE_DICT)
        return NULL;
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        for (uint32_t i = 0; i + 1 < root->u.items.n; i += 2)
            if (hone_pickle_text_is(root->u.items.at[i], names[n]) && root->u.items.at[i + 1]->type == HONE_PICKLE_DICT)
                return root->u.items.at[i + 1];
    return NULL;
}

static hone_status unwrap(const hone_torch_state *state, const hone_pickle_value **root, uint32_t *n_visits,
                          hone_error *err)
{
    for (int n = 0; n < MAX_WRAPPERS; n++) {
        const hone_pickle_value *wrapped = find_wrapped(*root);
        if (!wrapped)
            return HONE_OK;
        const struct hone_pickle_items *items = &(*root)->u.items;
        for (uint32_t i = 0; i + 1 < items->n; i += 2) {
            bool others = false;
            if (items->at[i + 1] != wrapped && !is_training_state(items->at[i]))
                HONE_TRY(holds_tensors(state, items->at[i + 1], n_visits, &others, err));
            if (others)
                return HONE_OK;
        }
        *root = wrapped;
    }
    return HONE_OK;
}

static void strip_module(struct listing *list)
{
    static const char prefix[] = "module.";
    for (size_t i = 0; i < list->n; i++)
        if (strncmp(list->tensors[i].name, prefix, sizeof prefix - 1) != 0)
            return;
    for (size_t i = 0; i < list->n; i++)
        list->tensors[i].name += sizeof prefix - 1;
}

/* --- tensors --- */

static hone_status list_tensor(struct listing *list, const hone_torch_state *state, const hone_pickle_value *tensor,
                               const char *path, size_t len, hone_error *err)
{
    if (strlen(path) != len)
        return fail_value(state, err, HONE_ERROR_DATA, tensor, path, "a tensor whose name holds a NUL");
    list->names_nbytes += len;
    if (list->n == MAX_TENSORS || list->names_nbytes > MAX_NAMES_NBYTES)
        return fail_value(state, err, HONE_ERROR_LIMIT, tensor, path, "too many tensors");
    struct found *grown = hone_grow(list->tensors, &list->cap, list->n + 1, sizeof *grown);
    if (!grown)
        return hone_fail_nomem(err, list->n * sizeof *grown);
    list->tensors = grown;
    const char *name = hone_arena_copy(&state->ckpt->arena, path, len);
    if (!name)
        return hone_fail_nomem(err, len);
    list->tensors[list->n++] = (struct found){.name = name, .tensor = tensor};
    return HONE_OK;
}

static hone_status list_tensors(struct listing *list, const hone_torch_state *state, hone_error *err)
{
    const hone_pickle_value *root = state->pickle->root, *tensor;
    uint32_t n_visits = 0;
    if (hone_torch_tensor_of(root))
        return list_tensor(list, state, root, "tensor", strlen("tensor"), err);
    if (!state->ckpt->has_index)
        HONE_TRY(unwrap(state, &root, &n_visits, err));
    struct walk w;
    HONE_TRY(start_walk(&w, state, root, &n_visits, err));
    for (;;) {
        const char *unnameable;
        HONE_TRY(next_tensor(&w, &tensor, &unnameable));
        if (!tensor)
            break;
        if (unnameable)
            return fail_value(state, err, HONE_ERROR_UNSUPPORTED, tensor, NULL, unnameable);
        HONE_TRY(list_tensor(list, state, tensor, w.path, w.path_len, err));
    }
    if (!state->ckpt->has_index)
        strip_module(list);
    return HONE_OK;
}

static hone_status add_tensor(const hone_torch_state *state, const struct found *found, hone_error *err)
{
    const hone_torch_tensor *t = hone_torch_tensor_of(found->tensor);
    const uint64_t at = hone_torch_offset(state, found->tensor->at);
    if (t->type->dtype == HONE_INVALID || t->storage->type->dtype == HONE_INVALID)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, at, found->name, "elements of type %s are not handled",
                         t->type->name);
    hone_tensor tensor = {.name = found->name, .dtype = t->type->dtype, .n_dims = t->n_dims, .file = state->file};
    memcpy(tensor.shape, t->shape, sizeof tensor.shape);
    hone_layout layout = {.swap_bytes = state->big_endian};
    memcpy(layout.strides, t->strides, sizeof layout.strides);
    HONE_TRY(state->locate(state->user, t->storage, hone_torch_offset(state, t->storage->at), found->name,
                           &layout.payload, err));
    if (__builtin_mul_overflow(t->first, hone_torch_elem_nbytes(t->type), &layout.first_nbytes))
        return hone_fail(err, HONE_ERROR_DATA, at, found->name, "an offset beyond all bounds");
    return hone_checkpoint_add_strided(state->ckpt, &tensor, &layout, at, err);
}

hone_status hone_torch_add_state(const hone_torch_state *state, hone_error *err)
{
    struct listing list = {0};
    hone_status status = list_tensors(&list, state, err);
    for (size_t i = 0; i < list.n && status == HONE_OK; i++)
        status = add_tensor(state, &list.tensors[i], err);
    hone_release(list.tensors);
    return status;
}

/* SPDX-License-Identifier: MIT */
/*
 * PyTorch checkpoints, the form before 1.6.
 *
 *   |pickle: magic|pickle: 1001|pickle: facts about the writer|pickle: the object|pickle: list of storage keys|
 *   |for each key: i64 number of elements, elements| to the end of the file
 *
 * Storages are little-endian whatever the writer was. Source: torch/serialization.py (_legacy_save),
 * torch/csrc/serialization.cpp.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "formats/pytorch_state.h"

enum { PROTOCOL = 1001, FIRST_WINDOW_NBYTES = 64 << 10, COUNT_NBYTES = 8 };
static const char MAGIC[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

struct place {
    const hone_torch_storage *storage;
    uint64_t at; /* of its elements; HONE_NO_OFFSET until its key comes up */
};

struct legacy {
    const hone_file *file;
    uint64_t at;          /* of the next thing to read */
    struct place *places; /* sorted by key, one each */
    size_t n_places;
};

/* One pickle of the chain, and the bytes that its strings lie in. */
struct link {
    uint64_t at;
    uint8_t *bytes;
    hone_pickle pickle;
};

static void link_deinit(struct link *link)
{
    hone_pickle_deinit(&link->pickle);
    hone_release(link->bytes);
    *link = (struct link){0};
}

/* How long a pickle is shows when it stops: try with a window of the file that grows. */
static hone_status read_link(struct legacy *l, struct link *link, hone_error *err)
{
    *link = (struct link){.at = l->at};
    const uint64_t left = l->file->nbytes - l->at;
    for (uint64_t window = FIRST_WINDOW_NBYTES;; window *= 8) {
        const bool is_most = window >= left || window >= HONE_MAX_PICKLE_NBYTES;
        if (is_most)
            window = left < HONE_MAX_PICKLE_NBYTES ? left : HONE_MAX_PICKLE_NBYTES;
        link->bytes = hone_alloc((size_t)window, 1);
        if (!link->bytes)
            return hone_fail_nomem(err, window);
        hone_status status = hone_file_read(l->file, l->at, link->bytes, (size_t)window, err);
        if (status == HONE_OK) {
            status = hone_unpickle(link->bytes, (size_t)window, &hone_torch_dialect, &link->pickle, err);
            if (err && status != HONE_OK && err->offset != HONE_NO_OFFSET)
                err->offset += l->at;
        }
        if (status == HONE_OK) {
            l->at += link->pickle.nbytes;
            return HONE_OK;
        }
        const bool ran_out = link->pickle.ran_out;
        link_deinit(link);
        link->at = l->at;
        if (ran_out && is_most && window < left)
            return hone_fail(err, HONE_ERROR_LIMIT, l->at, NULL, "a pickle of more than %d bytes",
                             HONE_MAX_PICKLE_NBYTES);
        if (!ran_out || is_most)
            return status;
    }
}

/* A pickle of one number. */
static hone_status check_magic(struct legacy *l, hone_error *err)
{
    struct link link;
    HONE_TRY(read_link(l, &link, err));
    const hone_pickle_value *root = link.pickle.root;
    const bool ok = root->type == HONE_PICKLE_BIG && root->u.text.len == sizeof MAGIC - 1 &&
                    memcmp(root->u.text.data, MAGIC, sizeof MAGIC - 1) == 0;
    link_deinit(&link);
    return ok ? HONE_OK : hone_fail(err, HONE_ERROR_FORMAT, 0, NULL, "a pickle, but no PyTorch checkpoint");
}

static hone_status check_protocol(struct legacy *l, hone_error *err)
{
    struct link link;
    const uint64_t at = l->at;
    HONE_TRY(read_link(l, &link, err));
    const bool ok = link.pickle.root->type == HONE_PICKLE_INT && link.pickle.root->u.i == PROTOCOL;
    link_deinit(&link);
    return ok ? HONE_OK : hone_fail(err, HONE_ERROR_UNSUPPORTED, at, NULL, "a protocol other than %d", PROTOCOL);
}

/* What it says of the writer's byte order does not matter: torch ignores it as well. */
static hone_status skip_facts(struct legacy *l, hone_error *err)
{
    struct link link;
    HONE_TRY(read_link(l, &link, err));
    link_deinit(&link);
    return HONE_OK;
}

/* --- storages --- */

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return strcmp(x->storage->key, y->storage->key);
}

static struct place *find_place(const struct legacy *l, const char *key)
{
    const hone_torch_storage wanted = {.key = key};
    const struct place place = {.storage = &wanted};
    return l->n_places > 0 ? bsearch(&place, l->places, l->n_places, sizeof place, compare_places) : NULL;
}

/* Make the table of distinct storages. All mentions of one must agree. */
static hone_status list_places(struct legacy *l, const struct link *object, hone_error *err)
{
    size_t n = 0;
    for (const hone_torch_storage *s = hone_torch_storages(&object->pickle); s; s = s->next)
        n++;
    l->places = hone_alloc(n, sizeof *l->places);
    if (!l->places)
        return hone_fail_nomem(err, n * sizeof *l->places);
    n = 0;
    for (const hone_torch_storage *s = hone_torch_storages(&object->pickle); s; s = s->next)
        l->places[n++] = (struct place){.storage = s, .at = HONE_NO_OFFSET};
    if (n > 0)
        qsort(l->places, n, sizeof *l->places, compare_places);
    for (size_t i = 0; i < n; i++) {
        const hone_torch_storage *s = l->places[i].storage;
        if (l->n_places == 0 || strcmp(l->places[l->n_places - 1].storage->key, s->key) != 0) {
            l->places[l->n_places++] = l->places[i];
            continue;
        }
        const hone_torch_storage *first = l->places[l->n_places - 1].storage;
        if (first->nelems != s->nelems || hone_torch_elem_nbytes(first->type) != hone_torch_elem_nbytes(s->type))
            return hone_fail(err, HONE_ERROR_DATA, object->at + s->at, s->key,
                             "two descriptions of one storage contradict each other");
    }
    return HONE_OK;
}

static hone_status read_storage(struct legacy *l, struct place *place, hone_error *err)
{
    const hone_torch_storage *s = place->storage;
    const uint32_t elem_nbytes = hone_torch_elem_nbytes(s->type);
    if (elem_nbytes == 0)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, l->at, s->key, "elements of type %s are not handled",
                         s->type->name);
    uint8_t count[COUNT_NBYTES];
    if (l->file->nbytes - l->at < sizeof count)
        return hone_fail(err, HONE_ERROR_DATA, l->at, s->key, "the file ends before this storage");
    HONE_TRY(hone_file_read(l->file, l->at, count, sizeof count, err));
    if (hone_load_u64(count) != s->nelems)
        return hone_fail(err, HONE_ERROR_DATA, l->at, s->key, "a storage of another size than the pickle says");
    if (s->nelems > (l->file->nbytes - l->at - sizeof count) / elem_nbytes)
        return hone_fail(err, HONE_ERROR_DATA, l->at, s->key, "the storage runs past the end of the file");
    place->at = l->at + sizeof count;
    l->at = place->at + s->nelems * elem_nbytes;
    return HONE_OK;
}

/* key is a value of the list of keys, as long as it pleases. */
static struct place *find_listed(const struct legacy *l, const hone_pickle_value *key)
{
    char text[256];
    if (key->type != HONE_PICKLE_STRING || key->u.text.len >= sizeof text)
        return NULL;
    memcpy(text, key->u.text.data, key->u.text.len);
    text[key->u.text.len] = '\0';
    return find_place(l, text);
}

static hone_status read_storages(struct legacy *l, hone_error *err)
{
    struct link keys;
    HONE_TRY(read_link(l, &keys, err));
    const hone_pickle_value *list = keys.pickle.root;
    hone_status status = HONE_OK;
    if (list->type != HONE_PICKLE_LIST)
        status = hone_fail(err, HONE_ERROR_DATA, keys.at, NULL, "no list of storage keys after the object");
    const uint32_t n = status == HONE_OK ? list->u.items.n : 0;
    for (uint32_t i = 0; i < n && status == HONE_OK; i++) {
        const hone_pickle_value *key = list->u.items.at[i];
        struct place *place = find_listed(l, key);
        if (!place || place->at != HONE_NO_OFFSET)
            status = hone_fail(err, HONE_ERROR_DATA, keys.at + key->at, NULL,
                               place ? "a storage is listed twice" : "a storage is listed that no tensor uses");
        else
            status = read_storage(l, place, err);
    }
    link_deinit(&keys);
    if (status == HONE_OK && l->at != l->file->nbytes)
        status = hone_fail(err, HONE_ERROR_DATA, l->at, NULL, "bytes after the last storage");
    return status;
}

static hone_status locate(void *user, const hone_torch_storage *storage, uint64_t at, const char *name,
                          hone_payload *out, hone_error *err)
{
    const struct place *place = find_place(user, storage->key);
    if (!place || place->at == HONE_NO_OFFSET)
        return hone_fail(err, HONE_ERROR_DATA, at, name, "its storage \"%.64s\" is not in the file", storage->key);
    const uint32_t elem_nbytes = hone_torch_elem_nbytes(storage->type);
    /* A part was checked against nelems when it was made, and nelems against the file. */
    const uint64_t first = storage->is_part ? storage->first_part : 0;
    const uint64_t n = storage->is_part ? storage->nelems_part : storage->nelems;
    *out = (hone_payload){.offset = place->at + first * elem_nbytes, .nbytes = n * elem_nbytes};
    return HONE_OK;
}

static hone_status read_object(hone_checkpoint *ckpt, unsigned file, struct legacy *l, hone_error *err)
{
    struct link object;
    HONE_TRY(read_link(l, &object, err));
    hone_status status = list_places(l, &object, err);
    if (status == HONE_OK)
        status = read_storages(l, err);
    const hone_torch_state state = {.ckpt = ckpt,
                                    .file = file,
                                    .pickle = &object.pickle,
                                    .pickle_at = object.at,
                                    .pickle_in_place = true,
                                    .locate = locate,
                                    .user = l};
    if (status == HONE_OK)
        status = hone_torch_add_state(&state, err);
    link_deinit(&object);
    return status;
}

static hone_status read_chain(hone_checkpoint *ckpt, unsigned file, struct legacy *l, hone_error *err)
{
    HONE_TRY(check_magic(l, err));
    HONE_TRY(check_protocol(l, err));
    HONE_TRY(skip_facts(l, err));
    return read_object(ckpt, file, l, err);
}

static hone_status read_file(hone_checkpoint *ckpt, unsigned file, hone_error *err)
{
    const hone_file opened = ckpt->files[file];
    struct legacy l = {.file = &opened};
    const hone_status status = read_chain(ckpt, file, &l, err);
    hone_release(l.places);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, opened.path);
}

/* Any binary pickle, so that one of another kind is told apart from noise, and a class in it is refused by name. */
static bool probe(const uint8_t *head, size_t head_nbytes, uint64_t file_nbytes)
{
    (void)file_nbytes;
    return head_nbytes >= 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5;
}

const hone_reader hone_pytorch_legacy_reader = {.name = "pytorch", .probe = probe, .read = read_file};

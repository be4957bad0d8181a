/* SPDX-License-Identifier: MIT */
/*
 * PyTorch checkpoints, the zip form (since 1.6).
 *
 *   <folder>/data.pkl    the object, with persistent ids for its storages
 *   <folder>/data/<key>  the bytes of a storage
 *   <folder>/byteorder   "little" or "big"; little when missing
 *   <folder>/version     of the format, in decimal; optional
 *
 * Source: torch/serialization.py, caffe2/serialize/inline_container.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "formats/inflate.h"
#include "formats/pytorch_state.h"
#include "formats/zip_reader.h"

enum { MAX_VERSION = 10, MAX_RECORD_NBYTES = 64, MAX_ENTRY_NAME = 1024 };
static const char ROOT_NAME[] = "/data.pkl";

struct archive {
    hone_checkpoint *ckpt;
    const hone_zip *zip;
    const char *root; /* the name of data.pkl; the folder is its first folder_len bytes, without the slash */
    int folder_len;
};

hone_status hone_pytorch_find_root(const hone_zip *zip, const hone_zip_entry **root, hone_error *err)
{
    *root = NULL;
    for (size_t i = 0; i < zip->n_entries; i++) {
        const hone_zip_entry *entry = &zip->entries[i];
        const char *slash = strchr(entry->name, '/');
        if (!slash || strcmp(slash, ROOT_NAME) != 0)
            continue;
        if (*root)
            return hone_fail(err, HONE_ERROR_DATA, entry->listed_at, entry->name, "a second checkpoint in the file");
        *root = entry;
    }
    return HONE_OK;
}

/* NULL also when the name would be too long for any entry we would look for. */
static hone_zip_entry *find_entry(const struct archive *a, const char *name)
{
    char full[MAX_ENTRY_NAME];
    const int len = snprintf(full, sizeof full, "%.*s/%s", a->folder_len, a->root, name);
    return len > 0 && (size_t)len < sizeof full ? hone_zip_find(a->zip, full) : NULL;
}

/* A record of a few characters; *text is empty when there is none. */
static hone_status read_record(const struct archive *a, const char *name, char text[MAX_RECORD_NBYTES + 1],
                               const hone_zip_entry **entry, hone_error *err)
{
    text[0] = '\0';
    *entry = find_entry(a, name);
    if (!*entry)
        return HONE_OK;
    uint8_t *bytes;
    HONE_TRY(hone_zip_load(a->zip, *entry, MAX_RECORD_NBYTES, &bytes, err));
    size_t n = (size_t)(*entry)->nbytes;
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    memcpy(text, bytes, n);
    text[n] = '\0';
    hone_release(bytes);
    return HONE_OK;
}

static hone_status read_records(const struct archive *a, bool *big_endian, hone_error *err)
{
    char text[MAX_RECORD_NBYTES + 1];
    const hone_zip_entry *entry;
    HONE_TRY(read_record(a, "byteorder", text, &entry, err));
    *big_endian = strcmp(text, "big") == 0;
    if (entry && !*big_endian && strcmp(text, "little") != 0)
        return hone_fail(err, HONE_ERROR_DATA, entry->data_at, entry->name, "neither \"little\" nor \"big\"");
    HONE_TRY(read_record(a, "version", text, &entry, err));
    const size_t n_digits = strspn(text, "0123456789");
    if (entry && (n_digits == 0 || text[n_digits] != '\0'))
        return hone_fail(err, HONE_ERROR_DATA, entry->data_at, entry->name, "not a number");
    if (n_digits > 2 || (n_digits == 2 && (text[0] - '0') * 10 + text[1] - '0' > MAX_VERSION))
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, entry->data_at, entry->name, "version %s, at most %d is read",
                         text, MAX_VERSION);
    return HONE_OK;
}

static hone_status locate(void *user, const hone_torch_storage *storage, uint64_t at, const char *name,
                          hone_payload *out, hone_error *err)
{
    struct archive *a = user;
    char entry_name[MAX_ENTRY_NAME];
    (void)snprintf(entry_name, sizeof entry_name, "data/%s", storage->key);
    hone_zip_entry *entry = find_entry(a, entry_name);
    if (!entry)
        return hone_fail(err, HONE_ERROR_DATA, at, name, "its storage \"%.64s\" is not in the file", storage->key);
    if (storage->is_part)
        return hone_fail(err, HONE_ERROR_DATA, at, name, "its storage is a part of another one");
    if (entry->nbytes / hone_torch_elem_nbytes(storage->type) != storage->nelems)
        return hone_fail(err, HONE_ERROR_DATA, at, name, "its storage has %llu bytes, not %llu elements of %s",
                         (unsigned long long)entry->nbytes, (unsigned long long)storage->nelems, storage->type->name);
    return hone_zip_place(a->ckpt, a->zip, entry, out, err);
}

static hone_status add_object(struct archive *a, unsigned file, const hone_zip_entry *root, const uint8_t *bytes,
                              bool big_endian, hone_error *err)
{
    hone_torch_state state = {.ckpt = a->ckpt,
                              .file = file,
                              .pickle_at = root->data_at,
                              .pickle_in_place = !root->deflated,
                              .big_endian = big_endian,
                              .locate = locate,
                              .user = a};
    hone_pickle pickle;
    hone_status status = hone_unpickle(bytes, (size_t)root->nbytes, &hone_torch_dialect, &pickle, err);
    if (status == HONE_OK && pickle.nbytes != root->nbytes)
        status = hone_fail(err, HONE_ERROR_DATA, pickle.nbytes, NULL, "bytes after the end of the pickle");
    if (status != HONE_OK) {
        if (err && err->offset != HONE_NO_OFFSET)
            err->offset = hone_torch_offset(&state, err->offset);
    } else {
        state.pickle = &pickle;
        status = hone_torch_add_state(&state, err);
    }
    hone_pickle_deinit(&pickle);
    return status;
}

hone_status hone_pytorch_add_zip(hone_checkpoint *ckpt, unsigned file, const hone_zip *zip, const hone_zip_entry *root,
                                 hone_error *err)
{
    struct archive a = {.ckpt = ckpt, .zip = zip, .root = root->name};
    a.folder_len = (int)(strlen(root->name) - (sizeof ROOT_NAME - 1));
    bool big_endian;
    HONE_TRY(read_records(&a, &big_endian, err));
    uint8_t *bytes;
    HONE_TRY(hone_zip_load(zip, root, HONE_MAX_PICKLE_NBYTES, &bytes, err));
    const hone_status status = add_object(&a, file, root, bytes, big_endian, err);
    hone_release(bytes);
    return status;
}

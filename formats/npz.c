/* SPDX-License-Identifier: MIT */
/* NumPy archives: a zip file with an entry NAME.npy for each array, stored or deflated. Other entries are left out. */
#include <string.h>

#include "base/fail.h"
#include "formats/inflate.h"
#include "formats/npy.h"
#include "formats/zip_reader.h"

static const char EXTENSION[] = ".npy";

static bool is_array(const hone_zip_entry *entry)
{
    const size_t len = strlen(entry->name), suffix = sizeof EXTENSION - 1;
    return len > suffix && strcmp(entry->name + len - suffix, EXTENSION) == 0;
}

bool hone_npz_has_arrays(const hone_zip *zip)
{
    for (size_t i = 0; i < zip->n_entries; i++)
        if (is_array(&zip->entries[i]))
            return true;
    return false;
}

static hone_status add_entry(hone_checkpoint *ckpt, unsigned file, const hone_zip *zip, hone_zip_entry *entry,
                             hone_error *err)
{
    const char *name = hone_arena_copy(&ckpt->arena, entry->name, strlen(entry->name) - (sizeof EXTENSION - 1));
    if (!name)
        return hone_fail_nomem(err, strlen(entry->name));
    hone_payload payload;
    HONE_TRY(hone_zip_place(ckpt, zip, entry, &payload, err));
    return hone_npy_add(ckpt, file, name, &payload, entry->data_at, entry->deflated, err);
}

hone_status hone_npz_add_zip(hone_checkpoint *ckpt, unsigned file, const hone_zip *zip, hone_error *err)
{
    for (size_t i = 0; i < zip->n_entries; i++)
        if (is_array(&zip->entries[i]))
            HONE_TRY(add_entry(ckpt, file, zip, &zip->entries[i], err));
    return HONE_OK;
}

/* SPDX-License-Identifier: MIT */
/* A zip file is a PyTorch checkpoint when it holds <folder>/data.pkl, and a set of NumPy arrays when it holds *.npy. */
#include "formats/zip_reader.h"

#include "base/fail.h"

static bool probe(const uint8_t *head, size_t head_nbytes, uint64_t file_nbytes)
{
    (void)file_nbytes;
    return hone_zip_probe(head, head_nbytes);
}

static hone_status read_entries(hone_checkpoint *ckpt, unsigned file, const hone_zip *zip, hone_error *err)
{
    const hone_zip_entry *root;
    HONE_TRY(hone_pytorch_find_root(zip, &root, err));
    if (root) {
        ckpt->format = "pytorch";
        return hone_pytorch_add_zip(ckpt, file, zip, root, err);
    }
    if (hone_npz_has_arrays(zip)) {
        ckpt->format = "npz";
        return hone_npz_add_zip(ckpt, file, zip, err);
    }
    return hone_fail(err, HONE_ERROR_FORMAT, 0, NULL,
                     "a zip file with neither a PyTorch checkpoint (data.pkl) nor NumPy arrays (*.npy)");
}

static hone_status read_file(hone_checkpoint *ckpt, unsigned file, hone_error *err)
{
    /* A copy: adding files would move the original, and a reader adds none. */
    const hone_file opened = ckpt->files[file];
    uint8_t head[4];
    hone_status status;
    hone_zip zip = {0};
    if (opened.nbytes < sizeof head)
        status = hone_fail(err, HONE_ERROR_FORMAT, 0, NULL, "neither a zip file nor a pickle");
    else
        status = hone_file_read(&opened, 0, head, sizeof head, err);
    if (status == HONE_OK && !hone_zip_probe(head, sizeof head))
        status = hone_fail(err, HONE_ERROR_FORMAT, 0, NULL, "neither a zip file nor a pickle");
    if (status == HONE_OK)
        status = hone_zip_open(&opened, &zip, err);
    if (status == HONE_OK)
        status = read_entries(ckpt, file, &zip, err);
    hone_zip_close(&zip);
    return status == HONE_OK ? HONE_OK : hone_fail_in_file(err, status, opened.path);
}

const hone_reader hone_zip_reader = {.name = "zip", .probe = probe, .read = read_file};

/* SPDX-License-Identifier: MIT */
#include "convert/pieces.h"

#include "base/fail.h"

size_t hone_pieces_nbytes(const hone_piece *pieces, unsigned n)
{
    return pieces[n - 1].at + pieces[n - 1].n_runs * pieces[n - 1].run_nbytes;
}

hone_status hone_pieces_write(const hone_writer *writer, const hone_piece *pieces, unsigned n, const void *bytes,
                              hone_error *err)
{
    for (unsigned p = 0; p < n; p++)
        for (size_t i = 0; i < pieces[p].n_runs; i++)
            HONE_TRY(hone_writer_write(writer, pieces[p].offset + i * pieces[p].stride,
                                       (const char *)bytes + pieces[p].at + i * pieces[p].run_nbytes,
                                       pieces[p].run_nbytes, err));
    return HONE_OK;
}

hone_status hone_pieces_read(const hone_writer *writer, const hone_piece *pieces, unsigned n, void *bytes,
                             hone_error *err)
{
    for (unsigned p = 0; p < n; p++)
        for (size_t i = 0; i < pieces[p].n_runs; i++)
            HONE_TRY(hone_writer_read(writer, pieces[p].offset + i * pieces[p].stride,
                                      (char *)bytes + pieces[p].at + i * pieces[p].run_nbytes, pieces[p].run_nbytes,
                                      err));
    return HONE_OK;
}

/*
 * stock_reader: reads WAL through the server's own page_read for SQL
 * functions, as pg_walinspect does, and does nothing with it.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/pg_lsn.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(stock_read);

/* stock_read(from pg_lsn, to pg_lsn) returns the number of records. */
Datum
stock_read(PG_FUNCTION_ARGS)
{
	XLogRecPtr	from = PG_GETARG_LSN(0);
	XLogRecPtr	to = PG_GETARG_LSN(1);
	int64		records = 0;
	char	   *message;
	XLogReaderState *reader;

	reader = XLogReaderAllocate(wal_segment_size, NULL,
								XL_ROUTINE(.page_read = &read_local_xlog_page_no_wait,
										   .segment_open = &wal_segment_open,
										   .segment_close = &wal_segment_close),
								palloc0(sizeof(ReadLocalXLogPageNoWaitPrivate)));
	if (reader == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (XLogRecPtrIsInvalid(XLogFindNextRecord(reader, from)))
		ereport(ERROR, (errmsg("could not find a valid record after %X/%X",
							   LSN_FORMAT_ARGS(from))));
	while (reader->EndRecPtr < to && XLogReadRecord(reader, &message) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		records++;
	}
	XLogReaderFree(reader);
	PG_RETURN_INT64(records);
}

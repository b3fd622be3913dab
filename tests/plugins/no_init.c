/* A PostgreSQL module, but no walker plugin. */
#include "postgres.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

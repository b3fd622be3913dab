\echo Use "ALTER EXTENSION walker UPDATE" to load this file. \quit

-- Nothing has changed but the library.

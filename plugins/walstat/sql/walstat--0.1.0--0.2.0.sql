\echo Use "ALTER EXTENSION walstat UPDATE" to load this file. \quit

-- Nothing has changed but the library.

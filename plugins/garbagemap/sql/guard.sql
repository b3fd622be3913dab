\echo Use "CREATE EXTENSION garbagemap" to load this file. \quit

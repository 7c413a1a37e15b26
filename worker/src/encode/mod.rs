//! Encode: Arrow rows into Parquet bytes, a row group at a time.
//!
//! Neighbours: batch before it, sink after it. Pure: no I/O.

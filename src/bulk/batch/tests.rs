//! Tests of jobs through batches.

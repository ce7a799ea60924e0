// Counts of lines and toggles, for designs that were built to keep them.

#include "verilated_cov.h"

SHIM_API void systole_write_coverage(void* p, const char* path) { of(p)->context.coveragep()->write(path); }

// For machines without the zlib headers: what the trace writer calls, as stored blocks. The writer keeps the original
// wherever this is not smaller, which is always.
#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>

typedef unsigned char Bytef;
typedef unsigned long uLong;
typedef unsigned long uLongf;
#define Z_OK 0
#define Z_BUF_ERROR (-5)

static inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

static inline int compress2(Bytef* target, uLongf* target_size, const Bytef* source, uLong size, int) {
    if (*target_size < compressBound(size)) return Z_BUF_ERROR;
    Bytef* out = target;
    *out++ = 0x78;
    *out++ = 0x01;
    uint32_t a = 1, b = 0;
    for (uLong i = 0; i < size; ++i) {
        a = (a + source[i]) % 65521;
        b = (b + a) % 65521;
    }
    do {
        const uLong n = size < 65535 ? size : 65535;
        *out++ = n == size;
        for (const uLong field : {n, ~n}) {
            *out++ = static_cast<Bytef>(field);
            *out++ = static_cast<Bytef>(field >> 8);
        }
        if (n) memcpy(out, source, n);
        out += n;
        source += n;
        size -= n;
    } while (size);
    for (int shift = 8; shift >= 0; shift -= 8) *out++ = static_cast<Bytef>((b >> shift));
    for (int shift = 8; shift >= 0; shift -= 8) *out++ = static_cast<Bytef>((a >> shift));
    *target_size = static_cast<uLongf>(out - target);
    return Z_OK;
}

// For machines without the LZ4 headers: the two functions that the trace writer calls, in the LZ4 block format.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

static inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

namespace systole_lz4 {
inline void put_length(uint8_t*& out, int rest) {
    for (; rest >= 255; rest -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(rest);
}
// One sequence: literals, then a match unless it is the last.
inline void put_sequence(uint8_t*& out, const uint8_t* literals, int count, int offset, int match) {
    const int extra = match - 4;
    *out++ = static_cast<uint8_t>((count < 15 ? count : 15) << 4 | (offset ? (extra < 15 ? extra : 15) : 0));
    if (count >= 15) put_length(out, count - 15);
    memcpy(out, literals, static_cast<size_t>(count));
    out += count;
    if (!offset) return;
    *out++ = static_cast<uint8_t>(offset);
    *out++ = static_cast<uint8_t>(offset >> 8);
    if (extra >= 15) put_length(out, extra - 15);
}
}  // namespace systole_lz4

// Greedy, one candidate per hash. The destination always has LZ4_compressBound bytes.
static inline int LZ4_compress_default(const char* source, char* target, int size, int) {
    const uint8_t* in = reinterpret_cast<const uint8_t*>(source);
    uint8_t* out = reinterpret_cast<uint8_t*>(target);
    const auto word = [in](int at) {
        uint32_t w;
        memcpy(&w, in + at, 4);
        return w;
    };
    std::vector<int> seen(1 << 13, -1);
    int begun = 0;
    // The format wants the last match to begin 12 bytes, and to end 5 bytes, before the end.
    for (int at = 0; at + 12 < size;) {
        int& entry = seen[word(at) * 2654435761u >> 19];
        const int candidate = entry;
        entry = at;
        if (candidate < 0 || at - candidate > 65535 || word(candidate) != word(at)) {
            ++at;
            continue;
        }
        int length = 4;
        while (at + length < size - 5 && in[candidate + length] == in[at + length]) ++length;
        systole_lz4::put_sequence(out, in + begun, at - begun, at - candidate, length);
        begun = at += length;
    }
    systole_lz4::put_sequence(out, in + begun, size - begun, 0, 0);
    return static_cast<int>(out - reinterpret_cast<uint8_t*>(target));
}

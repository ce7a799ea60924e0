// Between the Verilated class and Rust. The lines above this one, which name the class and list its ports, are generated.

#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
#endif
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#define SHIM_API extern "C" __attribute__((visibility("default")))

namespace {

struct Port {
    const char* name;
    void* data;
    uint32_t width;
    uint32_t direction;
};

template <typename T> void* address(T& member) { return static_cast<void*>(&member); }

// $finish, $stop and $fatal leave the evaluation through these.
struct Finished {};

void put(const Port& port, const uint64_t* words) {
    const uint32_t width = port.width;
    const uint64_t word = width >= 64 ? words[0] : words[0] & ((uint64_t{1} << width) - 1);
    if (width <= 8) *static_cast<uint8_t*>(port.data) = static_cast<uint8_t>(word);
    else if (width <= 16) *static_cast<uint16_t*>(port.data) = static_cast<uint16_t>(word);
    else if (width <= 32) *static_cast<uint32_t*>(port.data) = static_cast<uint32_t>(word);
    else if (width <= 64) *static_cast<uint64_t*>(port.data) = word;
    else {
        uint32_t* to = static_cast<uint32_t*>(port.data);
        const uint32_t count = (width + 31) / 32;
        for (uint32_t i = 0; i < count; ++i) to[i] = static_cast<uint32_t>(words[i / 2] >> (i % 2 * 32));
        if (width % 32) to[count - 1] &= (uint32_t{1} << (width % 32)) - 1;
    }
}

void take(const Port& port, uint64_t* words) {
    const uint32_t width = port.width;
    if (width <= 8) words[0] = *static_cast<uint8_t*>(port.data);
    else if (width <= 16) words[0] = *static_cast<uint16_t*>(port.data);
    else if (width <= 32) words[0] = *static_cast<uint32_t*>(port.data);
    else if (width <= 64) words[0] = *static_cast<uint64_t*>(port.data);
    else {
        const uint32_t* from = static_cast<uint32_t*>(port.data);
        const uint32_t count = (width + 31) / 32;
        for (uint32_t i = 0; i < count; i += 2) {
            const uint64_t high = i + 1 < count ? from[i + 1] : 0;
            words[i / 2] = from[i] | high << 32;
        }
    }
}

size_t words_of(const Port& port) { return (port.width + 63) / 64; }

struct Model {
    VerilatedContext context;
    std::unique_ptr<SHIM_CLASS> dut;
#if VM_TRACE_FST
    std::unique_ptr<VerilatedFstC> trace;
    bool tracing = false;
#endif
    Port ports[SHIM_PORT_COUNT + 1];
    uint64_t cycles = 0;
    uint64_t half_period = 1;
    // 0 running, 1 $finish, 2 $stop, $fatal or a file that cannot be read
    int state = 0;
    std::string message;

    void eval() {
        dut->eval();
#if VM_TRACE_FST
        if (tracing) trace->dump(context.time());
#endif
    }

    void tick(uint8_t* clock) {
        *clock = 0;
        eval();
        context.timeInc(half_period);
        *clock = 1;
        eval();
        context.timeInc(half_period);
        ++cycles;
    }

    // Runs `work` unless the design has ended; whatever it throws ends the design. Verilator's runtime reaches some of its
    // state through the thread's current context, which may be that of another model, alive or gone.
    template <typename Work> int guarded(Work work) {
        Verilated::threadContextp(&context);
        if (state) return state;
        try {
            work();
        } catch (const Finished&) {
            state = 1;
            message = "$finish";
        } catch (const std::exception& e) {
            state = 2;
            message = e.what();
        }
        return state;
    }
};

const uint32_t clock_ports[SHIM_CLOCK_COUNT + 1] = SHIM_CLOCKS;

Model* of(void* p) { return static_cast<Model*>(p); }
uint8_t* clock_data(Model* m, uint32_t port) { return static_cast<uint8_t*>(m->ports[port].data); }

}  // namespace

// Verilator's runtime calls these; it is compiled without its own.
void vl_finish(const char*, int, const char*) VL_MT_UNSAFE { throw Finished{}; }
void vl_stop(const char* file, int line, const char*) VL_MT_UNSAFE {
    throw std::runtime_error(std::string(file ? file : "") + ":" + std::to_string(line) + ": $stop");
}
void vl_fatal(const char* file, int line, const char*, const char* message) VL_MT_UNSAFE {
    const std::string place = file && *file ? std::string(file) + ":" + std::to_string(line) + ": " : "";
    throw std::runtime_error(place + (message ? message : "fatal"));
}
void vl_warn(const char* file, int line, const char*, const char* message) VL_MT_UNSAFE {
    const std::string text = std::string(file ? file : "") + ":" + std::to_string(line) + ": " + (message ? message : "");
    // A memory left empty would only be noticed much later.
    if (text.find("file not found") != std::string::npos) throw std::runtime_error(text);
    fprintf(stderr, "%%Warning: %s\n", text.c_str());
}

SHIM_API uint32_t systole_interface() { return SHIM_INTERFACE; }
SHIM_API const char* systole_top() { return SHIM_TOP; }
SHIM_API uint32_t systole_port_count() { return SHIM_PORT_COUNT; }
SHIM_API uint32_t systole_clock_count() { return SHIM_CLOCK_COUNT; }
SHIM_API uint32_t systole_clock(uint32_t i) { return clock_ports[i]; }

// Creates the model and runs its initial blocks. Never null: a failure is the model's state.
SHIM_API void* systole_new(int argc, const char** argv) {
    Model* m = new Model;
    m->context.commandArgs(argc, argv);
#if VM_TRACE_FST
    m->context.traceEverOn(true);
#endif
    m->dut.reset(new SHIM_CLASS{&m->context, SHIM_TOP});
    size_t n = 0;
#define P(member, text, bits, way) m->ports[n++] = Port{text, address(m->dut->member), bits, way};
    SHIM_PORTS(P)
#undef P
    (void)n;
    m->guarded([m] { m->eval(); });
    return m;
}

SHIM_API void systole_free(void* p) {
    Model* m = of(p);
#if VM_TRACE_FST
    if (m->trace) m->trace->close();
#endif
    m->guarded([m] { m->dut->final(); });
    delete m;
    // Never leave a context behind that is gone.
    Verilated::threadContextp(nullptr);
}

SHIM_API const void* systole_ports(void* p) { return of(p)->ports; }
SHIM_API const uint64_t* systole_cycles(void* p) { return &of(p)->cycles; }
SHIM_API const char* systole_message(void* p) { return of(p)->message.c_str(); }
SHIM_API int systole_state(void* p) { return of(p)->state; }
SHIM_API void systole_set_time(void* p, uint64_t time) { of(p)->context.time(time); }
SHIM_API uint64_t systole_time(void* p) { return of(p)->context.time(); }
SHIM_API void systole_set_half_period(void* p, uint64_t units) { of(p)->half_period = units; }

SHIM_API int systole_eval(void* p) {
    Model* m = of(p);
    return m->guarded([m] { m->eval(); });
}

SHIM_API int systole_tick(void* p, uint32_t clock, uint64_t count) {
    Model* m = of(p);
    uint8_t* data = clock_data(m, clock);
    return m->guarded([=] {
        for (uint64_t i = 0; i < count; ++i) m->tick(data);
    });
}

// Ticks until the port (at most 64 bits wide) equals the value, at most `limit` times. 1 if it does.
SHIM_API int systole_tick_until(void* p, uint32_t clock, uint32_t port, uint64_t value, uint64_t limit) {
    Model* m = of(p);
    uint8_t* data = clock_data(m, clock);
    int met = 0;
    m->guarded([&] {
        uint64_t now[1];
        for (uint64_t i = 0;; ++i) {
            take(m->ports[port], now);
            if (now[0] == value) {
                met = 1;
                return;
            }
            if (i == limit) return;
            m->tick(data);
        }
    });
    return met;
}

// One vector a cycle: inputs are set, the low clock settles, outputs of the vector `latency` cycles ago are read, the clock
// rises. After the last vector its inputs stay until its outputs have been read. `clock` is ~0 for a design without one.
SHIM_API int systole_run_vectors(void* p, uint32_t clock, const uint32_t* inputs, size_t input_count, const uint32_t* outputs,
                                 size_t output_count, const uint64_t* stimuli, uint64_t vectors, uint64_t latency,
                                 uint64_t* responses) {
    Model* m = of(p);
    uint8_t spare = 0;
    uint8_t* data = clock == UINT32_MAX ? &spare : clock_data(m, clock);
    std::vector<Port> in, out;
    for (size_t i = 0; i < input_count; ++i) in.push_back(m->ports[inputs[i]]);
    for (size_t i = 0; i < output_count; ++i) out.push_back(m->ports[outputs[i]]);
    return m->guarded([&] {
        for (uint64_t cycle = 0; cycle < vectors + latency; ++cycle) {
            if (cycle < vectors) {
                for (const Port& port : in) {
                    put(port, stimuli);
                    stimuli += words_of(port);
                }
            }
            *data = 0;
            m->eval();
            if (cycle >= latency) {
                for (const Port& port : out) {
                    take(port, responses);
                    responses += words_of(port);
                }
            }
            m->context.timeInc(m->half_period);
            if (clock != UINT32_MAX) {
                *data = 1;
                m->eval();
                m->context.timeInc(m->half_period);
            }
            ++m->cycles;
        }
    });
}

#if VM_TRACE_FST
SHIM_API int systole_can_trace() { return 1; }
SHIM_API int systole_trace_open(void* p, const char* path) {
    Model* m = of(p);
    if (m->trace) m->trace->close();
    m->trace.reset(new VerilatedFstC);
    m->dut->trace(m->trace.get(), 99);
    try {
        m->trace->open(path);
    } catch (const std::exception&) {
    }
    m->tracing = m->trace->isOpen();
    if (!m->tracing) m->trace.reset();
    return m->tracing;
}
SHIM_API void systole_trace_enable(void* p, int on) { of(p)->tracing = on && of(p)->trace; }
SHIM_API void systole_trace_close(void* p) {
    Model* m = of(p);
    m->tracing = false;
    if (m->trace) m->trace->close();
    m->trace.reset();
}
#else
SHIM_API int systole_can_trace() { return 0; }
SHIM_API int systole_trace_open(void*, const char*) { return 0; }
SHIM_API void systole_trace_enable(void*, int) {}
SHIM_API void systole_trace_close(void*) {}
#endif

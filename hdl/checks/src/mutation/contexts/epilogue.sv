// The epilogue as the engine sees it: a sum that is NaN is the one NaN that the processing elements' decoders make; what is beside a
// write, a flag or a trap matters while there is one.
module epilogue_context (
  input  logic clock,
  input  logic mute,
  input  logic [31:0] sum_0,
  input  logic [31:0] sum_1,
  input  logic [31:0] sum_2,
  input  logic [31:0] sum_3,
  input  logic [31:0] info_a,
  input  logic [31:0] info_b,
  input  logic [31:0] info_c,
  output logic req,
  output logic [169:0] write,
  output logic done,
  output logic [3:0] flag_set,
  output logic [36:0] flag,
  output logic mask_trap,
  output logic [50:0] trap,
  output logic [15:0] pc
);
  logic smem;
  logic [19:0] addr;
  logic [15:0] q, flag_pc, mask_trap_pc, mask_trap_q;
  logic [4:0] count;
  logic [31:0] data_0, data_1, data_2, data_3;
  logic [20:0] flag_addr;
  logic [18:0] mask_trap_off;
  logic [31:0] given_0, given_1, given_2, given_3;
  assign given_0 = ((&sum_0[30:23]) & (|sum_0[22:0])) ? 32'h7fc00000 : sum_0;
  assign given_1 = ((&sum_1[30:23]) & (|sum_1[22:0])) ? 32'h7fc00000 : sum_1;
  assign given_2 = ((&sum_2[30:23]) & (|sum_2[22:0])) ? 32'h7fc00000 : sum_2;
  assign given_3 = ((&sum_3[30:23]) & (|sum_3[22:0])) ? 32'h7fc00000 : sum_3;
  epilogue unit (
    .clock(clock),
    .mute(mute),
    .sum_0(given_0),
    .sum_1(given_1),
    .sum_2(given_2),
    .sum_3(given_3),
    .info_a(info_a),
    .info_b(info_b),
    .info_c(info_c),
    .req(req),
    .smem(smem),
    .addr(addr),
    .q(q),
    .count(count),
    .data_0(data_0),
    .data_1(data_1),
    .data_2(data_2),
    .data_3(data_3),
    .done(done),
    .flag_set(flag_set),
    .flag_pc(flag_pc),
    .flag_addr(flag_addr),
    .mask_trap(mask_trap),
    .mask_trap_pc(mask_trap_pc),
    .mask_trap_off(mask_trap_off),
    .mask_trap_q(mask_trap_q),
    .pc(pc)
  );
  assign write = req ? {smem, addr, q, count, data_3, data_2, data_1, data_0} : 170'd0;
  assign flag = (|flag_set) ? {flag_pc, flag_addr} : 37'd0;
  assign trap = mask_trap ? {mask_trap_pc, mask_trap_off, mask_trap_q} : 51'd0;
endmodule

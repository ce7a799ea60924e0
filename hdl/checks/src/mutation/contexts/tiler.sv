// The loader as the engine sees it: it starts when it has nothing in hand, on sizes that were checked; what is beside a request, a
// weight or a bias matters while there is one, and the bias store has 256 rows.
module loader_context (
  input  logic clock,
  input  logic clear,
  input  logic start,
  input  logic [31:0] word_0,
  input  logic [31:0] word_1,
  input  logic [31:0] word_2,
  input  logic [31:0] word_3,
  input  logic [31:0] word_4,
  input  logic [31:0] word_5,
  input  logic [31:0] word_6,
  input  logic [31:0] word_7,
  input  logic [31:0] word_8,
  input  logic [31:0] word_9,
  input  logic [31:0] word_10,
  input  logic [31:0] word_11,
  input  logic closed,
  input  logic gnt,
  input  logic [31:0] rdata_0,
  input  logic [31:0] rdata_1,
  input  logic [31:0] rdata_2,
  input  logic [31:0] rdata_3,
  output logic active,
  output logic opened,
  output logic req,
  output logic [40:0] request,
  output logic [3:0] w_we,
  output logic [65:0] weights,
  output logic bias_we,
  output logic [71:0] bias
);
  // as the issue stage makes them: 1 to 256
  logic [15:0] m_block, n_group;
  assign m_block = (word_2[23:16] == 8'd0) ? 16'd256 : {8'd0, word_2[23:16]};
  assign n_group = (word_2[31:24] == 8'd0) ? 16'd256 : {8'd0, word_2[31:24]};
  logic [19:0] addr;
  logic [15:0] q;
  logic [4:0] count;
  logic [1:0] w_slot;
  logic [63:0] data;
  logic [19:0] bias_addr;
  loader unit (
    .clock(clock),
    .clear(clear),
    .start(start & ~active),
    .word_0(word_0),
    .word_1(word_1),
    .word_2(word_2),
    .word_3(word_3),
    .word_4(word_4),
    .word_5(word_5),
    .word_6(word_6),
    .word_7(word_7),
    .word_8(word_8),
    .word_9(word_9),
    .word_10(word_10),
    .word_11(word_11),
    .m_block(m_block),
    .n_group(n_group),
    .active(active),
    .opened(opened),
    .closed(closed),
    .req(req),
    .addr(addr),
    .q(q),
    .count(count),
    .gnt(gnt & req),
    .rdata_0(rdata_0),
    .rdata_1(rdata_1),
    .rdata_2(rdata_2),
    .rdata_3(rdata_3),
    .w_we_0(w_we[0]),
    .w_we_1(w_we[1]),
    .w_we_2(w_we[2]),
    .w_we_3(w_we[3]),
    .w_slot(w_slot),
    .w_data_0(data[15:0]),
    .w_data_1(data[31:16]),
    .w_data_2(data[47:32]),
    .w_data_3(data[63:48]),
    .bias_we(bias_we),
    .bias_addr(bias_addr)
  );
  assign request = req ? {addr, q, count} : 41'd0;
  assign weights = (|w_we) ? {w_slot, data} : 66'd0;
  assign bias = bias_we ? {bias_addr[7:0], data} : 72'd0;
endmodule

// The streamer likewise: a token has a valid bit, 10, a result's particulars have 31 and 28, activations their own.
module streamer_context (
  input  logic clock,
  input  logic clear,
  input  logic start,
  input  logic [31:0] word_0,
  input  logic [31:0] word_1,
  input  logic [31:0] word_2,
  input  logic [31:0] word_3,
  input  logic [31:0] word_4,
  input  logic [31:0] word_5,
  input  logic [31:0] word_6,
  input  logic [31:0] word_7,
  input  logic [31:0] word_8,
  input  logic [31:0] word_9,
  input  logic [31:0] word_10,
  input  logic [31:0] word_11,
  input  logic [15:0] pc,
  input  logic opened,
  input  logic gnt,
  input  logic [31:0] rdata_0,
  input  logic [31:0] rdata_1,
  input  logic [31:0] rdata_2,
  input  logic [31:0] rdata_3,
  output logic active,
  output logic closed,
  output logic req,
  output logic [40:0] request,
  output logic [75:0] activations,
  output logic [31:0] token,
  output logic [2:0] result,
  output logic [95:0] particulars
);
  // as the issue stage makes them: 1 to 256
  logic [15:0] m_block, n_group;
  assign m_block = (word_2[23:16] == 8'd0) ? 16'd256 : {8'd0, word_2[23:16]};
  assign n_group = (word_2[31:24] == 8'd0) ? 16'd256 : {8'd0, word_2[31:24]};
  logic [19:0] addr;
  logic [15:0] q;
  logic [4:0] count;
  logic [18:0] act_0, act_1, act_2, act_3;
  logic [31:0] token_any, info_a, info_b, info_c;
  streamer unit (
    .clock(clock),
    .clear(clear),
    .start(start & ~active),
    .word_0(word_0),
    .word_1(word_1),
    .word_2(word_2),
    .word_3(word_3),
    .word_4(word_4),
    .word_5(word_5),
    .word_6(word_6),
    .word_7(word_7),
    .word_8(word_8),
    .word_9(word_9),
    .word_10(word_10),
    .word_11(word_11),
    .m_block(m_block),
    .n_group(n_group),
    .pc(pc),
    .active(active),
    .opened(opened),
    .closed(closed),
    .req(req),
    .addr(addr),
    .q(q),
    .count(count),
    .gnt(gnt & req),
    .rdata_0(rdata_0),
    .rdata_1(rdata_1),
    .rdata_2(rdata_2),
    .rdata_3(rdata_3),
    .act_0(act_0),
    .act_1(act_1),
    .act_2(act_2),
    .act_3(act_3),
    .token(token_any),
    .info_a(info_a),
    .info_b(info_b),
    .info_c(info_c)
  );
  assign request = req ? {addr, q, count} : 41'd0;
  assign activations = {act_3[18] ? act_3 : 19'd0, act_2[18] ? act_2 : 19'd0, act_1[18] ? act_1 : 19'd0, act_0[18] ? act_0 : 19'd0};
  assign token = token_any[10] ? token_any : 32'd0;
  assign result = info_a[31] ? {info_a[31:30], info_a[28]} : 3'd0;
  assign particulars = (info_a[31] & info_a[28]) ? {info_c, info_b, info_a} : 96'd0;
endmodule

// The deframer as the link sees it: the tail is a word of the ring, and where and what is written matters while it is written.
module deframer_context (
  input  logic clock,
  input  logic valid,
  input  logic [7:0] data,
  input  logic [15:0] tail,
  output logic [15:0] head,
  output logic [15:0] damaged,
  output logic [15:0] overflowed,
  output logic write,
  output logic [9:0] word,
  output logic [31:0] written
);
  logic [15:0] write_at;
  logic [31:0] write_data;
  deframer unit (
    .clock(clock),
    .valid(valid),
    .data(data),
    .tail(tail & 16'h0ffc),
    .head(head),
    .damaged(damaged),
    .overflowed(overflowed),
    .write(write),
    .write_at(write_at),
    .write_data(write_data)
  );
  assign word = write ? write_at[11:2] : 10'd0;
  assign written = write ? write_data : 32'd0;
endmodule

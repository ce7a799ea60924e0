// Simulation models of the two ECP5 primitives for which yosys has none: block RAM and multiplier, as far as yosys uses
// them (no output registers, no pipeline). Written from the primitives' documentation and yosys' mapping; see netlist.rs.

// Bits lie in bytes of nine; accesses narrower than nine bits leave every ninth alone. Both ports read the old word of a
// write in the same cycle by the other.
module DP16KD (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter GSR = "AUTO";
  parameter [319:0] INITVAL_00 = 320'd0;
  parameter [319:0] INITVAL_01 = 320'd0;
  parameter [319:0] INITVAL_02 = 320'd0;
  parameter [319:0] INITVAL_03 = 320'd0;
  parameter [319:0] INITVAL_04 = 320'd0;
  parameter [319:0] INITVAL_05 = 320'd0;
  parameter [319:0] INITVAL_06 = 320'd0;
  parameter [319:0] INITVAL_07 = 320'd0;
  parameter [319:0] INITVAL_08 = 320'd0;
  parameter [319:0] INITVAL_09 = 320'd0;
  parameter [319:0] INITVAL_0A = 320'd0;
  parameter [319:0] INITVAL_0B = 320'd0;
  parameter [319:0] INITVAL_0C = 320'd0;
  parameter [319:0] INITVAL_0D = 320'd0;
  parameter [319:0] INITVAL_0E = 320'd0;
  parameter [319:0] INITVAL_0F = 320'd0;
  parameter [319:0] INITVAL_10 = 320'd0;
  parameter [319:0] INITVAL_11 = 320'd0;
  parameter [319:0] INITVAL_12 = 320'd0;
  parameter [319:0] INITVAL_13 = 320'd0;
  parameter [319:0] INITVAL_14 = 320'd0;
  parameter [319:0] INITVAL_15 = 320'd0;
  parameter [319:0] INITVAL_16 = 320'd0;
  parameter [319:0] INITVAL_17 = 320'd0;
  parameter [319:0] INITVAL_18 = 320'd0;
  parameter [319:0] INITVAL_19 = 320'd0;
  parameter [319:0] INITVAL_1A = 320'd0;
  parameter [319:0] INITVAL_1B = 320'd0;
  parameter [319:0] INITVAL_1C = 320'd0;
  parameter [319:0] INITVAL_1D = 320'd0;
  parameter [319:0] INITVAL_1E = 320'd0;
  parameter [319:0] INITVAL_1F = 320'd0;
  parameter [319:0] INITVAL_20 = 320'd0;
  parameter [319:0] INITVAL_21 = 320'd0;
  parameter [319:0] INITVAL_22 = 320'd0;
  parameter [319:0] INITVAL_23 = 320'd0;
  parameter [319:0] INITVAL_24 = 320'd0;
  parameter [319:0] INITVAL_25 = 320'd0;
  parameter [319:0] INITVAL_26 = 320'd0;
  parameter [319:0] INITVAL_27 = 320'd0;
  parameter [319:0] INITVAL_28 = 320'd0;
  parameter [319:0] INITVAL_29 = 320'd0;
  parameter [319:0] INITVAL_2A = 320'd0;
  parameter [319:0] INITVAL_2B = 320'd0;
  parameter [319:0] INITVAL_2C = 320'd0;
  parameter [319:0] INITVAL_2D = 320'd0;
  parameter [319:0] INITVAL_2E = 320'd0;
  parameter [319:0] INITVAL_2F = 320'd0;
  parameter [319:0] INITVAL_30 = 320'd0;
  parameter [319:0] INITVAL_31 = 320'd0;
  parameter [319:0] INITVAL_32 = 320'd0;
  parameter [319:0] INITVAL_33 = 320'd0;
  parameter [319:0] INITVAL_34 = 320'd0;
  parameter [319:0] INITVAL_35 = 320'd0;
  parameter [319:0] INITVAL_36 = 320'd0;
  parameter [319:0] INITVAL_37 = 320'd0;
  parameter [319:0] INITVAL_38 = 320'd0;
  parameter [319:0] INITVAL_39 = 320'd0;
  parameter [319:0] INITVAL_3A = 320'd0;
  parameter [319:0] INITVAL_3B = 320'd0;
  parameter [319:0] INITVAL_3C = 320'd0;
  parameter [319:0] INITVAL_3D = 320'd0;
  parameter [319:0] INITVAL_3E = 320'd0;
  parameter [319:0] INITVAL_3F = 320'd0;

  reg [8:0] mem [0:2047];
  reg [17:0] out_a = 18'd0, out_b = 18'd0, high_b = 18'd0;
  wire [17:0] in_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  wire [17:0] in_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
  wire [13:0] ad_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] ad_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = (DATA_WIDTH_B == 36) ? out_b : out_a;
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = (DATA_WIDTH_B == 36) ? high_b : out_b;

  localparam [20479:0] INIT = {INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00};
  integer k;
  initial for (k = 0; k < 1024; k = k + 1) begin
    mem[2 * k] = INIT[k * 20 +: 9];
    mem[2 * k + 1] = INIT[k * 20 + 9 +: 9];
  end

  // What an access of a width finds.
  function [17:0] narrow(input integer width, input [13:0] ad, input [8:0] low, input [8:0] high);
    case (width)
      1: narrow = {17'd0, low[ad[2:0]]};
      2: narrow = {16'd0, low[{ad[2:1], 1'b0} +: 2]};
      4: narrow = {14'd0, low[{ad[2], 2'b00} +: 4]};
      9: narrow = {9'd0, low};
      default: narrow = {high, low};
    endcase
  endfunction
  // A byte after a write of fewer than nine bits.
  function [8:0] merge(input integer width, input [13:0] ad, input [8:0] old, input [17:0] data);
    begin
      merge = old;
      case (width)
        1: merge[ad[2:0]] = data[0];
        2: merge[{ad[2:1], 1'b0} +: 2] = data[1:0];
        4: merge[{ad[2], 2'b00} +: 4] = data[3:0];
        default: merge = data[8:0];
      endcase
    end
  endfunction
  wire [10:0] byte_a = (DATA_WIDTH_A == 36) ? {ad_a[13:5], 2'b00} : (DATA_WIDTH_A == 18) ? {ad_a[13:4], 1'b0} : ad_a[13:3];
  wire [10:0] byte_b = (DATA_WIDTH_B == 36) ? {ad_b[13:5], 2'b00} : (DATA_WIDTH_B == 18) ? {ad_b[13:4], 1'b0} : ad_b[13:3];

  always @(posedge CLKA) if (CEA) begin
    if (WEA) begin
      if (DATA_WIDTH_A == 36) begin
        if (ad_a[0]) mem[byte_a] <= in_a[8:0];
        if (ad_a[1]) mem[byte_a | 11'd1] <= in_a[17:9];
        if (ad_a[2]) mem[byte_a | 11'd2] <= in_b[8:0];
        if (ad_a[3]) mem[byte_a | 11'd3] <= in_b[17:9];
      end else if (DATA_WIDTH_A == 18) begin
        if (ad_a[0]) mem[byte_a] <= in_a[8:0];
        if (ad_a[1]) mem[byte_a | 11'd1] <= in_a[17:9];
      end else mem[byte_a] <= merge(DATA_WIDTH_A, ad_a, mem[byte_a], in_a);
    end
    if (RSTA) out_a <= 18'd0;
    else if (!WEA || WRITEMODE_A == "READBEFOREWRITE")
      out_a <= narrow(DATA_WIDTH_A, ad_a, mem[byte_a], mem[byte_a | 11'd1]);
    else if (WRITEMODE_A == "WRITETHROUGH") begin
      if (DATA_WIDTH_A >= 18) out_a <= {ad_a[1] ? in_a[17:9] : mem[byte_a | 11'd1], ad_a[0] ? in_a[8:0] : mem[byte_a]};
      else out_a <= in_a;
    end
  end
  always @(posedge CLKB) if (CEB) begin
    if (WEB && DATA_WIDTH_B == 18) begin
      if (ad_b[0]) mem[byte_b] <= in_b[8:0];
      if (ad_b[1]) mem[byte_b | 11'd1] <= in_b[17:9];
    end else if (WEB && DATA_WIDTH_B < 18) mem[byte_b] <= merge(DATA_WIDTH_B, ad_b, mem[byte_b], in_b);
    if (RSTB) begin
      out_b <= 18'd0;
      high_b <= 18'd0;
    end else if (!WEB || WRITEMODE_B == "READBEFOREWRITE") begin
      out_b <= narrow(DATA_WIDTH_B, ad_b, mem[byte_b], mem[byte_b | 11'd1]);
      high_b <= {mem[byte_b | 11'd3], mem[byte_b | 11'd2]};
    end else if (WRITEMODE_B == "WRITETHROUGH") begin
      if (DATA_WIDTH_B >= 18) out_b <= {ad_b[1] ? in_b[17:9] : mem[byte_b | 11'd1], ad_b[0] ? in_b[8:0] : mem[byte_b]};
      else out_b <= in_b;
    end
  end
endmodule

module MULT18X18D (
  input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  wire signed [18:0] a = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
  wire signed [18:0] b = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
  wire signed [37:0] p = a * b;
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p[35:0];
endmodule

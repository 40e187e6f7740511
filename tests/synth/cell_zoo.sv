// One of everything that synthesis maps to a cell of its own: block RAM in every width and write mode, ROM, lookup-table
// RAM, multipliers with every mix of signs, carry chains, wide functions. A beat is taken, and given two cycles later.
`default_nettype none

module cell_zoo #(
    parameter int SHRINK = 0,         // memories have so many address bits less
    parameter int DUAL   = 1,         // a memory with two ports that both write
    parameter int MULT   = 18,        // bits of the multipliers' operands
    parameter ROM18 = "rom18.hex",  // 1024 words of 18 bits
    parameter ROM4  = "rom4.hex",   // 4096 words of 4 bits
    parameter LUTS  = "luts.hex"    // 16 words of 6 bits
) (
    input  wire logic         clk,
    input  wire logic         rst,
    input  wire logic         s_valid,
    output      logic         s_ready,
    input  wire logic [ 63:0] s_data,
    output      logic         m_valid,
    input  wire logic         m_ready,
    output      logic [503:0] m_data
);
  logic signed [17:0] a, b;
  logic [17:0] ua, ub;
  logic [13:0] address;
  logic [1:0] enable;
  logic write, clear, go, work;
  assign {enable, clear, write, address, b, a} = s_data[53:0];
  assign ua = a;
  assign ub = b;
  assign s_ready = !work && !m_valid;
  assign go = s_valid && s_ready;
  always_ff @(posedge clk) begin
    if (rst) {work, m_valid} <= '0;
    else begin
      work <= go;
      if (work) m_valid <= 1'b1;
      else if (m_ready) m_valid <= 1'b0;
    end
  end

  // Single-port block RAMs: no change, read first, write first, with a read that can be cleared, byte enables.
  (* ram_style = "block" *) logic [17:0] keep_mem[1024>>SHRINK], old_mem[1024>>SHRINK], new_mem[1024>>SHRINK],
      bytes_mem[1024>>SHRINK];
  (* ram_style = "block" *) logic [8:0] clear_mem[2048>>SHRINK];
  (* ram_style = "block" *) logic narrow1_mem[16384>>SHRINK];
  (* ram_style = "block" *) logic [1:0] narrow2_mem[8192>>SHRINK];
  (* ram_style = "block" *) logic [3:0] narrow4_mem[4096>>SHRINK];
  logic [17:0] keep, old, fresh, bytes;
  logic [8:0] cleared;
  logic narrow1;
  logic [1:0] narrow2;
  logic [3:0] narrow4;
  always_ff @(posedge clk) begin
    if (go) begin
      if (write) keep_mem[address[9-SHRINK:0]] <= a;
      else keep <= keep_mem[address[9-SHRINK:0]];
      if (write) old_mem[address[9-SHRINK:0]] <= a;
      old <= old_mem[address[9-SHRINK:0]];
      if (write) begin
        new_mem[address[9-SHRINK:0]] <= a;
        fresh <= a;
      end else fresh <= new_mem[address[9-SHRINK:0]];
      if (write && enable[0]) bytes_mem[address[9-SHRINK:0]][8:0] <= a[8:0];
      if (write && enable[1]) bytes_mem[address[9-SHRINK:0]][17:9] <= a[17:9];
      if (!write) bytes <= bytes_mem[address[9-SHRINK:0]];
      if (write) narrow1_mem[address[13-SHRINK:0]] <= a[0];
      else narrow1 <= narrow1_mem[address[13-SHRINK:0]];
      if (write) narrow2_mem[address[12-SHRINK:0]] <= a[1:0];
      else narrow2 <= narrow2_mem[address[12-SHRINK:0]];
      if (write) narrow4_mem[address[11-SHRINK:0]] <= a[3:0];
      else narrow4 <= narrow4_mem[address[11-SHRINK:0]];
    end
  end
  always_ff @(posedge clk) begin
    if (go && write) clear_mem[address[10-SHRINK:0]] <= a[8:0];
    if (clear) cleared <= '0;
    else if (go && !write) cleared <= clear_mem[address[10-SHRINK:0]];
  end

  // One port writes 36 bits, the other reads; and two ports that both read and write.
  (* ram_style = "block" *) logic [35:0] wide_mem[512>>SHRINK];
  (* ram_style = "block" *) logic [8:0] dual_mem[2048>>SHRINK];
  logic [35:0] wide;
  logic [8:0] dual_a, dual_b;
  always_ff @(posedge clk) begin
    if (go && write) wide_mem[address[8-SHRINK:0]] <= {b, a};
    if (go) wide <= wide_mem[~address[8-SHRINK:0]];
  end
  if (DUAL) begin : g_dual
    always_ff @(posedge clk) begin
      if (go) begin
        if (write) dual_mem[{1'b0, address[9-SHRINK:0]}] <= a[8:0];
        else dual_a <= dual_mem[{1'b0, address[9-SHRINK:0]}];
      end
    end
    always_ff @(posedge clk) begin
      if (go) begin
        if (write) dual_mem[{1'b1, address[9-SHRINK:0]}] <= b[8:0];
        else dual_b <= dual_mem[{1'b1, address[9-SHRINK:0]}];
      end
    end
  end else begin : g_single
    assign {dual_a, dual_b} = '0;
  end

  // ROMs, and a lookup-table RAM with initial contents.
  (* rom_style = "block" *) logic [17:0] rom18_mem[1024>>SHRINK];
  (* rom_style = "block" *) logic [3:0] rom4_mem[4096>>SHRINK];
  (* ram_style = "distributed" *) logic [5:0] luts_mem[16];
  initial begin
    $readmemh(ROM18, rom18_mem);
    $readmemh(ROM4, rom4_mem);
    $readmemh(LUTS, luts_mem);
  end
  logic [17:0] rom18;
  logic [3:0] rom4;
  logic [5:0] luts;
  always_ff @(posedge clk) begin
    if (go) begin
      rom18 <= rom18_mem[address[9-SHRINK:0]];
      rom4  <= rom4_mem[address[11-SHRINK:0]];
      luts  <= luts_mem[address[3:0]];
      if (write) luts_mem[address[7:4]] <= a[5:0];
    end
  end

  // Arithmetic and wide functions.
  logic signed [MULT-1:0] x, y, x_before, y_before;
  logic [MULT-1:0] ux, uy;
  assign x  = a[MULT-1:0];
  assign y  = b[MULT-1:0];
  assign ux = ua[MULT-1:0];
  assign uy = ub[MULT-1:0];
  logic signed [35:0] signed_both, signed_a, signed_b;
  logic [35:0] unsigned_both;
  logic signed [31:0] total;
  logic [18:0] sum, difference;
  logic less, less_unsigned, equal, wide_and;
  logic [3:0] picked;
  always_ff @(posedge clk) begin
    if (go) begin
      signed_both <= x * y;
      signed_a <= 36'(x * $signed({1'b0, uy}));
      signed_b <= 36'($signed({1'b0, ux}) * y);
      unsigned_both <= ux * uy;
      // Operands, product and sum in registers, as a whole DSP has them.
      x_before <= x;
      y_before <= y;
      total <= total + 32'(x_before * y_before);
      sum <= 19'(ua) + 19'(ub);
      difference <= 19'(a) - 19'(b);
      less <= a < b;
      less_unsigned <= ua < ub;
      equal <= a == b;
      wide_and <= &{a[6:0]};
      picked <= 4'(ua >> address[4:1]);
    end
  end
  logic [503:0] all;
  always_ff @(posedge clk) if (work) m_data <= all;
  assign all = 504'({
    keep, old, fresh, bytes, cleared, narrow1, narrow2, narrow4, wide, dual_a, dual_b, rom18, rom4, luts,
    signed_both, signed_a, signed_b, unsigned_both, sum, difference, less, less_unsigned, equal, wide_and, picked, total
  });
endmodule

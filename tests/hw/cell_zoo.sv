// One of everything that synthesis maps to a cell of its own: block RAM in every width and write mode, ROM, lookup-table
// RAM, multipliers with every mix of signs, carry chains, wide functions. A beat is taken, and given two cycles later.
`default_nettype none

module cell_zoo #(
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
    output      logic [471:0] m_data
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
  (* ram_style = "block" *) logic [17:0] keep_mem[1024], old_mem[1024], new_mem[1024], bytes_mem[1024];
  (* ram_style = "block" *) logic [8:0] clear_mem[2048];
  (* ram_style = "block" *) logic narrow1_mem[16384];
  (* ram_style = "block" *) logic [1:0] narrow2_mem[8192];
  (* ram_style = "block" *) logic [3:0] narrow4_mem[4096];
  logic [17:0] keep, old, fresh, bytes;
  logic [8:0] cleared;
  logic narrow1;
  logic [1:0] narrow2;
  logic [3:0] narrow4;
  always_ff @(posedge clk) begin
    if (go) begin
      if (write) keep_mem[address[9:0]] <= a;
      else keep <= keep_mem[address[9:0]];
      if (write) old_mem[address[9:0]] <= a;
      old <= old_mem[address[9:0]];
      if (write) begin
        new_mem[address[9:0]] <= a;
        fresh <= a;
      end else fresh <= new_mem[address[9:0]];
      if (write && enable[0]) bytes_mem[address[9:0]][8:0] <= a[8:0];
      if (write && enable[1]) bytes_mem[address[9:0]][17:9] <= a[17:9];
      if (!write) bytes <= bytes_mem[address[9:0]];
      if (write) narrow1_mem[address] <= a[0];
      else narrow1 <= narrow1_mem[address];
      if (write) narrow2_mem[address[12:0]] <= a[1:0];
      else narrow2 <= narrow2_mem[address[12:0]];
      if (write) narrow4_mem[address[11:0]] <= a[3:0];
      else narrow4 <= narrow4_mem[address[11:0]];
    end
  end
  always_ff @(posedge clk) begin
    if (go && write) clear_mem[address[10:0]] <= a[8:0];
    if (clear) cleared <= '0;
    else if (go && !write) cleared <= clear_mem[address[10:0]];
  end

  // One port writes 36 bits, the other reads; and two ports that both read and write.
  (* ram_style = "block" *) logic [35:0] wide_mem[512];
  (* ram_style = "block" *) logic [8:0] dual_mem[2048];
  logic [35:0] wide;
  logic [8:0] dual_a, dual_b;
  always_ff @(posedge clk) begin
    if (go && write) wide_mem[address[8:0]] <= {b, a};
    if (go) wide <= wide_mem[~address[8:0]];
  end
  always_ff @(posedge clk) begin
    if (go) begin
      if (write) dual_mem[{1'b0, address[9:0]}] <= a[8:0];
      else dual_a <= dual_mem[{1'b0, address[9:0]}];
    end
  end
  always_ff @(posedge clk) begin
    if (go) begin
      if (write) dual_mem[{1'b1, address[9:0]}] <= b[8:0];
      else dual_b <= dual_mem[{1'b1, address[9:0]}];
    end
  end

  // ROMs, and a lookup-table RAM with initial contents.
  (* rom_style = "block" *) logic [17:0] rom18_mem[1024];
  (* rom_style = "block" *) logic [3:0] rom4_mem[4096];
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
      rom18 <= rom18_mem[address[9:0]];
      rom4  <= rom4_mem[address[11:0]];
      luts  <= luts_mem[address[3:0]];
      if (write) luts_mem[address[7:4]] <= a[5:0];
    end
  end

  // Arithmetic and wide functions.
  logic signed [35:0] signed_both, signed_a, signed_b;
  logic [35:0] unsigned_both;
  logic [18:0] sum, difference;
  logic less, less_unsigned, equal, wide_and;
  logic [3:0] picked;
  always_ff @(posedge clk) begin
    if (go) begin
      signed_both <= a * b;
      signed_a <= 36'(a * $signed({1'b0, ub}));
      signed_b <= 36'($signed({1'b0, ua}) * b);
      unsigned_both <= ua * ub;
      sum <= 19'(ua) + 19'(ub);
      difference <= 19'(a) - 19'(b);
      less <= a < b;
      less_unsigned <= ua < ub;
      equal <= a == b;
      wide_and <= &{a[6:0]};
      picked <= 4'(ua >> address[4:1]);
    end
  end
  logic [471:0] all;
  always_ff @(posedge clk) if (work) m_data <= all;
  assign all = 472'({
    keep, old, fresh, bytes, cleared, narrow1, narrow2, narrow4, wide, dual_a, dual_b, rom18, rom4, luts,
    signed_both, signed_a, signed_b, unsigned_both, sum, difference, less, less_unsigned, equal, wide_and, picked
  });
endmodule

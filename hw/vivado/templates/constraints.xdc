# The clock's constraint comes with the processor's block: << planned_mhz >> MHz.
# No pin of the logic leaves the FPGA.
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
# The first 32 bits of the design's hash, in the bitstream itself.
set_property BITSTREAM.CONFIG.USERID 0x<< design_hash[:8] >> [current_design]

# Synthesis, place and route, bitstream.
#   vivado -mode batch -source build_bitstream.tcl      (after << name >>.tcl)
set here [file dirname [file normalize [info script]]]
set name << name >>

# Waits for a run, and stops where it did not reach its end.
proc finish {run} {
  wait_on_run $run
  if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
    error "the run $run stopped: [get_property STATUS [get_runs $run]]"
  }
}

open_project [file join $here work project $name.xpr]
set_property STEPS.WRITE_BITSTREAM.ARGS.BIN_FILE true [get_runs impl_1]
# After a failed attempt nothing of it is taken up again.
reset_run synth_1
launch_runs synth_1 -jobs << jobs >>
finish synth_1
launch_runs impl_1 -jobs << jobs >> -to_step write_bitstream
finish impl_1
set folder [get_property DIRECTORY [get_runs impl_1]]
foreach kind {bit bin} {
  file copy -force [file join $folder ${name}_wrapper.$kind] [file join $here $name.$kind]
}
set description [file join $here work project $name.gen sources_1 bd $name hw_handoff $name.hwh]
if {[file exists $description]} {
  file copy -force $description [file join $here vivado.hwh]
}
close_project

# test/payload/triple.S: an exception without an IDT.
.include "start.inc"
main:
    lidt empty
    ud2
empty: .word 0
    .long 0

/*
 * cpu/vcpu_state.h: what a vCPU and the interrupt controllers hold, in one format for all engines.
 * (Intel SDM volume 3, AMD APM volume 2; the layouts are ours, the register meanings theirs)
 */
#pragma once

#include "state/state.h"

enum {
    VCPU_MSRS_MAX = 320,
    VCPU_XSAVE_SIZE = 4096, /* standard format: legacy area, header, AVX, AVX-512, PKRU */
    VCPU_LAPIC_SIZE = 1024, /* registers at their xAPIC offsets */
};

enum vcpu_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };
enum vcpu_reg {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_COUNT = 16
};

enum vcpu_run_state {
    VCPU_RUNNABLE,
    VCPU_WAIT_SIPI,
    VCPU_HALTED,
    VCPU_INIT_RECEIVED,
    VCPU_SIPI_RECEIVED
};

#define SEG_STATE(F, S)                                                                  \
    F(S, VAL, u64, base, "linear base")                                                  \
    F(S, VAL, u32, limit, "limit in bytes, granularity applied")                         \
    F(S, VAL, u16, selector, "visible part")                                             \
    F(S, VAL, u16, attr,                                                                 \
      "descriptor bits 40..55: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15") \
    F(S, VAL, bool, unusable, "null in a mode where that matters")
STATE_STRUCT(seg_state, SEG_STATE);

#define MSR_STATE(F, S)                   \
    F(S, VAL, u32, index, "ECX of RDMSR") \
    F(S, VAL, u64, value, "EDX:EAX")
STATE_STRUCT(msr_state, MSR_STATE);

#define VCPU_STATE(F, S)                                                                 \
    F(S, ARR, u64, reg, GPR_COUNT, "RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15")           \
    F(S, VAL, u64, rip, "instruction pointer")                                           \
    F(S, VAL, u64, rflags, "flags")                                                      \
    F(S, SUB, seg_state, seg, SEG_COUNT, "ES CS SS DS FS GS LDTR TR")                    \
    F(S, VAL, u64, gdt_base, "GDTR base")                                                \
    F(S, VAL, u16, gdt_limit, "GDTR limit")                                              \
    F(S, VAL, u64, idt_base, "IDTR base")                                                \
    F(S, VAL, u16, idt_limit, "IDTR limit")                                              \
    F(S, VAL, u64, cr0, "CR0")                                                           \
    F(S, VAL, u64, cr2, "CR2")                                                           \
    F(S, VAL, u64, cr3, "CR3")                                                           \
    F(S, VAL, u64, cr4, "CR4")                                                           \
    F(S, VAL, u64, cr8, "task priority")                                                 \
    F(S, VAL, u64, efer, "EFER")                                                         \
    F(S, VAL, u64, apic_base, "IA32_APIC_BASE")                                          \
    F(S, VAL, u64, xcr0, "XCR0")                                                         \
    F(S, ARR, u64, dr, 4, "DR0..DR3")                                                    \
    F(S, VAL, u64, dr6, "DR6")                                                           \
    F(S, VAL, u64, dr7, "DR7")                                                           \
    F(S, ARR, u8, xsave, VCPU_XSAVE_SIZE, "XSAVE image, standard format")                \
    F(S, VAL, u32, n_msrs, "rows of msr in use")                                         \
    F(S, SUB, msr_state, msr, VCPU_MSRS_MAX, "model-specific registers, TSC among them") \
    F(S, VAL, u8, run_state, "0 runnable, 1 waits for SIPI, 2 halted, 3 INIT, 4 SIPI")   \
    F(S, VAL, bool, exception_injected, "an exception is being delivered")               \
    F(S, VAL, bool, exception_pending, "… or waits")                                     \
    F(S, VAL, u8, exception_vector, "its vector")                                        \
    F(S, VAL, bool, exception_has_error, "it has an error code")                         \
    F(S, VAL, u32, exception_error, "its error code")                                    \
    F(S, VAL, bool, exception_has_payload, "its CR2 or DR6 is not yet written")          \
    F(S, VAL, u64, exception_payload, "that CR2 or DR6")                                 \
    F(S, VAL, bool, interrupt_injected, "an interrupt is being delivered")               \
    F(S, VAL, u8, interrupt_vector, "its vector")                                        \
    F(S, VAL, bool, interrupt_soft, "it is INT n")                                       \
    F(S, VAL, u8, interrupt_shadow, "bit 0 after MOV SS, bit 1 after STI")               \
    F(S, VAL, bool, nmi_injected, "an NMI is being delivered")                           \
    F(S, VAL, u8, nmi_pending, "NMIs that wait")                                         \
    F(S, VAL, bool, nmi_masked, "inside an NMI handler")                                 \
    F(S, VAL, u32, sipi_vector, "of the SIPI received")                                  \
    F(S, ARR, u8, lapic, VCPU_LAPIC_SIZE, "local APIC registers")
STATE_STRUCT(vcpu_state, VCPU_STATE);

#define IOAPIC_STATE(F, S)                                          \
    F(S, VAL, u8, select, "IOREGSEL")                               \
    F(S, VAL, u8, id, "IOAPIC id")                                  \
    F(S, VAL, u32, lines, "level of each input line")               \
    F(S, VAL, u32, irr, "interrupts that wait for delivery or EOI") \
    F(S, ARR, u64, redir, 24, "redirection table")
STATE_STRUCT(ioapic_state, IOAPIC_STATE);

#define PIC_STATE(F, S)                                              \
    F(S, VAL, u8, last_irr, "edge detection")                        \
    F(S, VAL, u8, irr, "interrupt request register")                 \
    F(S, VAL, u8, imr, "interrupt mask register")                    \
    F(S, VAL, u8, isr, "in-service register")                        \
    F(S, VAL, u8, priority_add, "highest priority level")            \
    F(S, VAL, u8, irq_base, "vector base")                           \
    F(S, VAL, u8, read_reg_select, "OCW3: ISR is read")              \
    F(S, VAL, u8, poll, "poll command")                              \
    F(S, VAL, u8, special_mask, "special mask mode")                 \
    F(S, VAL, u8, init_state, "which ICW comes next")                \
    F(S, VAL, u8, auto_eoi, "automatic EOI")                         \
    F(S, VAL, u8, rotate_on_auto_eoi, "rotation on it")              \
    F(S, VAL, u8, special_fully_nested_mode, "special fully nested") \
    F(S, VAL, u8, init4, "ICW4 is expected")                         \
    F(S, VAL, u8, elcr, "edge/level control register")               \
    F(S, VAL, u8, elcr_mask, "its writable bits")
STATE_STRUCT(pic_state, PIC_STATE);

#define CPU_VM_STATE(F, S)                                                       \
    F(S, VAL, u64, clock_ns, "the paravirtual clock: guest time elapsed")        \
    F(S, SUB, ioapic_state, ioapic, 1, "the IOAPIC")                             \
    F(S, VAL, bool, legacy, "PIC and PIT exist")                                 \
    F(S, SUB, pic_state, pic, 2, "8259 master and slave")                        \
    F(S, ARR, u8, pit, 112,                                                      \
      "8254: three channels as KVM_GET_PIT2 lays them out, loads as elapsed ns") \
    F(S, VAL, u32, tsc_khz, "TSC frequency the guest was told")
STATE_STRUCT(cpu_vm_state, CPU_VM_STATE);

/* dev/pci/pci_test.c: to come. */

/*
 * The relay protocol of Mersal, for Spin. `npm run model` runs it; docs/relay-protocol.md explains it.
 * Each step below is one atomic piece: a statement of the database, one lock of one row, one answer
 * of the broker. What matters happens between the steps. A pause is a process that makes none.
 */
#include "bounds.pml"
#include "world.pml"
#include "table.pml"
#include "writer.pml"
#include "claim.pml"
#include "relay.pml"
#include "faults.pml"

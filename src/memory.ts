export * from './stores/memory.ts'

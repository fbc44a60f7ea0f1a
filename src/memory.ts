export * from './stores/memory.ts'
export * from './transports/memory.ts'

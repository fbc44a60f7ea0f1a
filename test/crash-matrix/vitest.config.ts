import { defineConfig } from 'vitest/config'
import all from '../../vitest.config.ts'

/**
 * The cells one by one, and the bugs that they have to notice: it takes longer than all other
 * tests.
 */
const { projects: _, ...shared } = all.test ?? {}
export default defineConfig({ test: { ...shared, include: ['test/crash-*/*.matrix.ts'] } })

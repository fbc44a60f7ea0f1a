import { defineConfig } from 'vitest/config'
import all from '../../vitest.config.ts'

/** The programs alone, with nothing built before: `main.ts` runs them, with and without guards. */
const { projects: _, reporters: _reporters, ...shared } = all.test ?? {}
export default defineConfig({
  test: { ...shared, reporters: ['default'], include: ['test/{user-code,contract}/*.test.ts'] },
})

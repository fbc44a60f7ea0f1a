import { afterAll } from 'vitest'
import { storeSuites } from '../contract/store-suite.ts'
import { reusedSchemas } from './database.ts'
import { storeHarness } from './store-harness.ts'

export interface ServerUnderTest {
  readonly present: boolean
  /** Asked for when a test runs. Undefined: the server that the tests share. */
  readonly url?: () => string
}

/** The contract suites of a store, on one server. */
export function storeContract(name: string, { present, url }: ServerUnderTest): void {
  const schemas = reusedSchemas(url)
  afterAll(() => schemas[Symbol.asyncDispose]())
  storeSuites(name, present, () => storeHarness(schemas.next()))
}

import { afterAll } from 'vitest'
import { reusedDatabases, serverAnswers } from '../mysql/server.ts'
import { storeHarness } from '../mysql/store-harness.ts'
import { storeSuites } from './store-suite.ts'

const present = await serverAnswers()
const databases = reusedDatabases()
afterAll(() => databases[Symbol.asyncDispose]())

storeSuites('mysql store', present, () => storeHarness(databases.next()))

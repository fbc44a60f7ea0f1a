import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const LIBRARIES = '/usr/lib'

/** Its folder is called after the machine. `MERSAL_TEST_LIBFAKETIME`: where else it is. */
export function findLibfaketime(): string | undefined {
  const places = readdirSync(LIBRARIES).map((name) =>
    join(LIBRARIES, name, 'faketime/libfaketimeMT.so.1'),
  )
  return [process.env['MERSAL_TEST_LIBFAKETIME'] ?? '', ...places].find(
    (path) => path !== '' && existsSync(path),
  )
}

export const noLibfaketime = `libfaketime is not installed (apt-get install faketime): it is not below ${LIBRARIES}, and MERSAL_TEST_LIBFAKETIME names none`

/** Timers and the monotonic clock stay right. */
export const onlyTheWall = { FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1' }

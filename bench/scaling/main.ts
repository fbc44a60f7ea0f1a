/**
 * `node bench/scaling/main.ts`: writes docs/scaling.md from bench/reference/*.json. With
 * `--results` it prints what bench/results/*.json, where they exist, would make of it.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { readOutcomes } from '../document.ts'
import { scalingPage } from './page.ts'

export const scalingFile: string = fileURLToPath(new URL('../../docs/scaling.md', import.meta.url))

export function writeScalingPage(): void {
  writeFileSync(scalingFile, scalingPage(readOutcomes()))
}

if (import.meta.main) {
  if (process.argv.includes('--results')) {
    const latest = readOutcomes(fileURLToPath(new URL('../results/', import.meta.url)))
    const others = readOutcomes().filter(({ section }) =>
      latest.every((each) => each.section !== section),
    )
    process.stdout.write(scalingPage([...others, ...latest]))
  } else writeScalingPage()
}

import { Inject } from '@nestjs/common'
import { Mersal } from '../app/mersal.ts'

export const DEFAULT_APP = 'default'

/**
 * The injection token of an app: the class `Mersal` for the default one, so that a constructor may
 * name it as a type alone.
 */
export function mersalToken(app: string = DEFAULT_APP): typeof Mersal | string {
  return app === DEFAULT_APP ? Mersal : `mersal:${app}`
}

/** Injects an app by the name given to its module. Default 'default'. */
export function InjectMersal(app: string = DEFAULT_APP): ParameterDecorator & PropertyDecorator {
  return Inject(mersalToken(app))
}

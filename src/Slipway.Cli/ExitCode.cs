namespace Slipway.Cli;

/// <summary>What the process tells its shell.</summary>
internal static class ExitCode
{
    public const int Ok = 0;
    public const int FailedCheck = 1;
    public const int Usage = 2;
    public const int ServerUnreachable = 3;
    public const int NotPermitted = 4;
}

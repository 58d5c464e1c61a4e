using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Configs;
using Slipway.Tracking.Discipline;

namespace Slipway.Tracking;

/// <summary>What MLflow's API has no words for: digests of files, environments, flags.</summary>
internal static class NativeEndpoints
{
    public static void MapNative(IEndpointRouteBuilder app)
    {
        var native = app.MapGroup("/api/slipway/v1");
        native.MapGet("/experiments", Experiments).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("List experiments");
        native.MapGet("/experiments/{experiment}/discipline", Discipline).WithMetadata(new RequiredAccess(Permission.Read))
            .WithSummary("Show how soundly the runs of an experiment were scored");
        native.MapGet("/runs/compare-config", CompareConfig).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Compare the configuration files of two runs");
        native.MapGet("/runs/{run}", Run).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Show a run with its environment, files and flags");
        native.MapPut("/runs/{run}/environment", SetEnvironment).WithMetadata(new RequiredAccess(Permission.Write)).WithSummary("Record where a run is computed");
    }

    private static Ok<ExperimentList> Experiments(ExperimentStore experiments, Caller by) =>
        TypedResults.Ok(new ExperimentList(by.Access.Visible(ResourceKind.Experiment, experiments.List(), experiment => experiment.ExperimentId)));

    private static Ok<DisciplineReport> Discipline(string experiment, ExperimentDiscipline discipline) => TypedResults.Ok(discipline.Report(experiment));

    private static Ok<RunRecord> Run(string run, RunStore runs) => TypedResults.Ok(runs.Get(run));

    private static async Task<Ok<ConfigComparison>> CompareConfig([FromQuery] string[]? run_id, ConfigComparer configs, CancellationToken cancellationToken) =>
        run_id is [var a, var b]
            ? TypedResults.Ok(await configs.CompareAsync(a, b, cancellationToken))
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"Name two runs to compare, not {run_id?.Length ?? 0}: ?run_id=A&run_id=B.");

    private static async Task<NoContent> SetEnvironment(string run, JsonElement environment, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        await runs.SetEnvironmentAsync(run, Parse(environment), by, cancellationToken);
        return TypedResults.NoContent();
    }

    private static RunEnvironment Parse(JsonElement json)
    {
        try
        {
            if (json.Deserialize<RunEnvironment>(JsonDefaults.Options) is { OperatingSystem: not null, Architecture: not null, Runtime: not null, Packages: not null } environment)
            {
                return environment with { Gpus = environment.Gpus ?? [] };
            }
        }
        catch (JsonException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{e.Path}' of the environment has the wrong type.", e);
        }

        throw new SlipwayException(ErrorCode.InvalidArgument, "The environment needs 'operating_system', 'architecture', 'runtime' and 'packages' (name to version).");
    }
}
